//! What is shown of a process, line by line. Pure.
//!
//! Plain ASCII, but for names of members where a terminal can show them: those stand last in their line.

use std::cmp::Ordering;

use super::answers::{Details, Member, Service, Snapshot};
use super::keys::Key;
use super::table::{self, Align, Column, cut};
use crate::ask::count;
use crate::terminal::{Letters, Size};

/// What whoever looks has chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct View {
    /// The service; none: the first one.
    pub(super) service: Option<String>,
    /// What the terminal shows.
    pub(super) letters: Letters,
    sort: Sort,
    order: Order,
}

/// By what members are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Sort {
    #[default]
    Score,
    Latency,
    Connections,
    Requests,
    Address,
}

/// Whether what is best, or most, comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Order {
    #[default]
    Usual,
    Reversed,
}

/// What follows from a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Another service is to be asked for.
    Ask,
    /// What is known is shown anew.
    Show,
    /// It is over.
    End,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) style: Style,
}

/// How a line stands out, where a terminal can show that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Title,
    Chosen,
}

/// What there is to show.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) now: &'a Snapshot,
    pub(super) before: Option<&'a Snapshot>,
    /// Why what is shown is not of now.
    pub(super) problem: Option<&'a str>,
}

impl Sort {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Score, "score"),
        (Self::Latency, "latency"),
        (Self::Connections, "connections"),
        (Self::Requests, "requests"),
        (Self::Address, "address"),
    ];

    fn place(self) -> usize {
        Self::ALL.iter().position(|(one, _)| *one == self).unwrap_or(0)
    }

    fn next(self) -> Self {
        Self::ALL
            .get(self.place() + 1)
            .map_or(Self::Score, |(next, _)| *next)
    }

    fn word(self) -> &'static str {
        Self::ALL.get(self.place()).map_or("", |(_, word)| word)
    }
}

impl View {
    /// One that shows this service; none: the first one.
    pub(super) fn of(service: Option<String>) -> Self {
        Self {
            service,
            ..Self::default()
        }
    }

    /// Takes a key.
    pub(super) fn on_key(&mut self, key: Key, services: &[Service]) -> Then {
        match key {
            Key::Quit => Then::End,
            Key::Sort => {
                self.sort = self.sort.next();
                Then::Show
            }
            Key::Reverse => {
                self.order = match self.order {
                    Order::Usual => Order::Reversed,
                    Order::Reversed => Order::Usual,
                };
                Then::Show
            }
            Key::Up => self.choose(self.place(services).saturating_sub(1), services),
            Key::Down => self.choose(self.place(services) + 1, services),
        }
    }

    fn choose(&mut self, place: usize, services: &[Service]) -> Then {
        match services.get(place) {
            Some(service) if self.service.as_ref() != Some(&service.name) => {
                self.service = Some(service.name.clone());
                Then::Ask
            }
            Some(_) | None => Then::Show,
        }
    }

    /// Where the service that is shown stands; the first one, if that which was chosen has left.
    pub(super) fn place(&self, services: &[Service]) -> usize {
        let chosen = self.service.as_ref();
        let place = chosen.and_then(|name| services.iter().position(|one| one.name == *name));
        place.unwrap_or(0)
    }

    /// The lines for a terminal of this size: no more and no longer ones than it has.
    pub(super) fn lines(&self, scene: &Scene<'_>, size: Size) -> Vec<Line> {
        let mut lines = vec![head(scene.now)];
        lines.push(match scene.problem {
            Some(problem) => Line::of(problem, Style::Title),
            None => Line::of("q quit, s sort, r reverse, j k service", Style::Plain),
        });
        lines.extend(self.services(&scene.now.services, size));
        if let Some(details) = &scene.now.chosen {
            lines.push(Line::of("", Style::Plain));
            lines.extend(self.members(details, scene, size.columns));
        }
        lines.truncate(size.rows);
        for line in &mut lines {
            line.text = table::plain(&line.text, self.letters);
            let end = cut(&line.text, size.columns).len();
            line.text.truncate(end);
        }
        lines
    }

    /// The services around the one that is shown, as many as a third of the terminal holds.
    fn services(&self, services: &[Service], size: Size) -> Vec<Line> {
        let chosen = self.place(services);
        let most = (size.rows / 3).max(1);
        let first = chosen
            .saturating_sub(most / 2)
            .min(services.len().saturating_sub(most));
        let shown = || services.iter().enumerate().skip(first).take(most);
        let mark = |place| if place == chosen { '>' } else { ' ' };
        let columns = [
            Column::new(
                "  SERVICE",
                Align::Left,
                shown().map(|(place, one)| format!("{} {}", mark(place), one.name)),
            ),
            Column::new(
                "LIVE",
                Align::Right,
                shown().map(|(_, one)| one.connections.to_string()),
            ),
            Column::new(
                "MEMBERS",
                Align::Right,
                shown().map(|(_, one)| one.active_set.len().to_string()),
            ),
            Column::new("STATE", Align::Left, shown().map(|(_, one)| state(one))),
            Column::new(
                "CANDIDATES",
                Align::Right,
                shown().map(|(_, one)| format!("{:.0}", one.candidates)),
            ),
        ];
        let style = |place: usize| match place.checked_sub(1) {
            None => Style::Title,
            Some(row) if first + row == chosen => Style::Chosen,
            Some(_) => Style::Plain,
        };
        let lines = table::lines(&columns, size.columns).into_iter().enumerate();
        lines.map(|(place, text)| Line::of(text, style(place))).collect()
    }

    fn members(&self, details: &Details, scene: &Scene<'_>, width: usize) -> Vec<Line> {
        let rates = scene.now.rates(scene.before);
        let rate = |member: &Member| rates.get(&member.addr).copied();
        let mut members: Vec<&Member> = details.members.iter().collect();
        members.sort_by(|one, other| {
            let order = self.compare((one, rate(one)), (other, rate(other)));
            match self.order {
                Order::Usual => order,
                Order::Reversed => order.reverse(),
            }
        });
        let cells =
            |cell: &dyn Fn(&Member) -> String| members.iter().map(|one| cell(one)).collect::<Vec<_>>();
        let right = |title, cell: &dyn Fn(&Member) -> String| {
            Column::new(title, Align::Right, cells(cell).into_iter())
        };
        let left = |title, cell: &dyn Fn(&Member) -> String| {
            Column::new(title, Align::Left, cells(cell).into_iter())
        };
        let mut columns = vec![
            left("MEMBER", &|one| one.addr.to_string()),
            right("SCORE", &|one| format!("{:.1}", one.score)),
            right("LATENCY", &|one| {
                or_dash(one.latency_ms.map(|latency| format!("{latency:.1} ms")))
            }),
            right("LIVE", &|one| one.connections.to_string()),
            right("WARM", &|one| format!("{}/{}", one.warm, one.target)),
            right("REQ/S", &|one| {
                or_dash(rate(one).map(|rate| format!("{rate:.1}")))
            }),
            left("STATE", &|one| {
                let full = if one.is_full { ", full" } else { "" };
                table::plain(&format!("{}{full}", one.state), Letters::Ascii)
            }),
        ];
        if details.members.iter().any(|one| one.max_connections.is_some()) {
            let of = |max: Option<u64>| or_dash(max.map(|max| max.to_string()));
            // Behind those that live.
            columns.insert(
                4,
                right("OPEN", &|one| format!("{}/{}", one.open, of(one.max_connections))),
            );
        }
        if members.iter().any(|one| one.name.is_some()) {
            columns.push(left("NAME", &|one| one.name.clone().unwrap_or_default()));
        }
        let title = format!(
            "{} by {}: {} known, {} answering",
            details.name,
            self.sort.word(),
            details.known,
            details.answering
        );
        let style = |place| if place == 0 { Style::Title } else { Style::Plain };
        let lines = table::lines(&columns, width).into_iter().enumerate();
        std::iter::once(Line::of(title, Style::Plain))
            .chain(lines.map(|(place, text)| Line::of(text, style(place))))
            .collect()
    }

    /// What is best, or most, first; what is not known last; and by address where that is the same.
    fn compare(&self, one: (&Member, Option<f64>), other: (&Member, Option<f64>)) -> Ordering {
        let unknown = f64::INFINITY;
        let latency = |member: &Member| member.latency_ms.unwrap_or(unknown);
        let order = match self.sort {
            Sort::Score => other.0.score.total_cmp(&one.0.score),
            Sort::Latency => latency(one.0).total_cmp(&latency(other.0)),
            Sort::Connections => other.0.connections.cmp(&one.0.connections),
            Sort::Requests => other.1.unwrap_or(-1.0).total_cmp(&one.1.unwrap_or(-1.0)),
            Sort::Address => Ordering::Equal,
        };
        order.then(one.0.addr.cmp(&other.0.addr))
    }
}

impl Line {
    fn of(text: impl Into<String>, style: Style) -> Self {
        let text = text.into();
        Self { text, style }
    }
}

fn head(now: &Snapshot) -> Line {
    let connections: u64 = now.services.iter().map(|one| one.connections).sum();
    let connections = count(connections, "connection");
    let services = count(now.services.len() as u64, "service");
    let text = format!("tcp-forwarder: {connections}, {services}");
    Line::of(text, Style::Title)
}

/// What is special about a service.
fn state(service: &Service) -> String {
    let mut words = Vec::new();
    if service.is_asleep {
        words.push("asleep".to_owned());
    }
    if service.is_leaving {
        words.push("leaving".to_owned());
    }
    if service.footing != "good" {
        words.push("below threshold".to_owned());
    }
    if service.queued > 0 {
        words.push(format!("{} queued", service.queued));
    }
    if service.full > 0 {
        words.push(format!("{} full", service.full));
    }
    if service.withdrawn > 0 {
        words.push(format!("{} out", service.withdrawn));
    }
    words.join(", ")
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests;
