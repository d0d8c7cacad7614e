//! What a scan has found, in one of several forms. Pure.

use std::net::SocketAddr;

use super::notes::Note;

/// What becomes of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The best are told.
    Rows(Form),
    /// All that was seen goes into a state file, for a service that starts.
    State,
}

/// The form in which candidates are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Table,
    /// With the columns that others have.
    Csv,
    /// One object with an array of objects.
    Json,
    /// A candidate list.
    List,
}

impl Output {
    /// Every output by its name.
    pub const ALL: [(&'static str, Self); 5] = [
        ("table", Self::Rows(Form::Table)),
        ("csv", Self::Rows(Form::Csv)),
        ("json", Self::Rows(Form::Json)),
        ("list", Self::Rows(Form::List)),
        ("state", Self::State),
    ];
}

/// What is told of one candidate.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) addr: SocketAddr,
    /// How its list calls it; empty if it does not.
    pub(super) name: String,
    pub(super) note: Note,
    /// Bits a second of a download, if it was tested and did not fail.
    pub(super) bits: Option<f64>,
    /// Where it says that it is.
    pub(super) region: String,
}

impl Row {
    /// Address, probes, answers, loss in per cent, mean latency and jitter in milliseconds, throughput in Mbit/s, region, name.
    fn cells(&self) -> [String; 9] {
        [
            self.addr.to_string(),
            self.note.sent.to_string(),
            self.note.received.to_string(),
            format!("{:.1}", self.note.loss() * 100.0),
            format!("{:.2}", self.note.mean() * 1e3),
            format!("{:.2}", self.note.jitter() * 1e3),
            self.bits
                .map_or(String::new(), |bits| format!("{:.1}", bits / 1e6)),
            self.region.clone(),
            self.name.clone(),
        ]
    }
}

/// The rows in a form, each line ended.
pub(super) fn render(rows: &[Row], form: Form) -> String {
    match form {
        Form::Table => table(rows),
        Form::Csv => csv(rows),
        Form::Json => json(rows),
        Form::List => {
            let line = |row: &Row| match row.name.as_str() {
                "" => format!("{}\n", row.addr),
                name => format!("{} # {name}\n", row.addr),
            };
            rows.iter().map(line).collect()
        }
    }
}

const HEADS: [&str; 9] = [
    "address",
    "sent",
    "received",
    "loss %",
    "latency ms",
    "jitter ms",
    "Mbit/s",
    "region",
    "name",
];

/// Columns that are wide enough, numbers to the right; those without anything in them are left out.
fn table(rows: &[Row]) -> String {
    let lines: Vec<[String; 9]> = std::iter::once(HEADS.map(str::to_owned))
        .chain(rows.iter().map(Row::cells))
        .collect();
    let is_told = |column: usize| lines.iter().skip(1).any(|line| !line[column].is_empty());
    let columns: Vec<(usize, usize)> = (0..HEADS.len())
        .filter(|column| *column < 6 || is_told(*column))
        .map(|column| {
            (
                column,
                lines.iter().map(|line| line[column].len()).max().unwrap_or(0),
            )
        })
        .collect();
    let mut text = String::new();
    for line in &lines {
        let cell = |(column, width): &(usize, usize)| match column {
            0 | 7 | 8 => format!("{:<width$}  ", line[*column]),
            _ => format!("{:>width$}  ", line[*column]),
        };
        let told: String = columns.iter().map(cell).collect();
        text.push_str(told.trim_end());
        text.push('\n');
    }
    text
}

fn csv(rows: &[Row]) -> String {
    let mut text =
        String::from("address,sent,received,loss_percent,latency_ms,jitter_ms,throughput_mbit,region,name\n");
    for row in rows {
        text.push_str(&row.cells().map(|cell| quoted(&cell)).join(","));
        text.push('\n');
    }
    text
}

/// A cell of CSV, in quotes if it needs them (RFC 4180).
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

fn json(rows: &[Row]) -> String {
    let number = |cell: &str| cell.parse::<f64>().ok();
    let object = |row: &Row| {
        let [
            address,
            sent,
            received,
            loss,
            latency,
            jitter,
            throughput,
            region,
            name,
        ] = row.cells();
        serde_json::json!({
            "address": address,
            "sent": sent.parse::<u32>().unwrap_or_default(),
            "received": received.parse::<u32>().unwrap_or_default(),
            "loss_percent": number(&loss),
            "latency_ms": number(&latency),
            "jitter_ms": number(&jitter),
            "throughput_mbit": number(&throughput),
            "region": region,
            "name": name,
        })
    };
    let all: Vec<_> = rows.iter().map(object).collect();
    format!("{:#}\n", serde_json::json!({ "best": all }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::scan::notes::Notes;

    fn rows() -> Vec<Row> {
        let mut notes = Notes::default();
        for (addr, millis) in [("198.51.100.7:443", 12), ("[2001:db8::7]:443", 9)] {
            let addr = addr.parse().expect("an address");
            notes.take(addr, Some(Duration::from_millis(millis)));
            notes.take(addr, None);
        }
        let row = |(addr, note)| Row {
            addr,
            name: String::new(),
            note,
            bits: None,
            region: String::new(),
        };
        notes.best(9).into_iter().map(row).collect()
    }

    #[test]
    fn each_form_tells_the_same() {
        let mut rows = rows();
        assert_eq!(render(&rows, Form::List), "[2001:db8::7]:443\n198.51.100.7:443\n");
        assert_eq!(
            render(&rows, Form::Table),
            "address            sent  received  loss %  latency ms  jitter ms\n\
             [2001:db8::7]:443     2         1    50.0        9.00       0.00\n\
             198.51.100.7:443      2         1    50.0       12.00       0.00\n"
        );
        rows[0].bits = Some(93.25e6);
        rows[0].region = "AMS".to_owned();
        rows[1].name = "香港, \"1\"".to_owned();
        assert_eq!(
            render(&rows, Form::Csv),
            "address,sent,received,loss_percent,latency_ms,jitter_ms,throughput_mbit,region,name\n\
             [2001:db8::7]:443,2,1,50.0,9.00,0.00,93.2,AMS,\n\
             198.51.100.7:443,2,1,50.0,12.00,0.00,,,\"香港, \"\"1\"\"\"\n"
        );
        let json: serde_json::Value = serde_json::from_str(&render(&rows, Form::Json)).expect("JSON");
        assert_eq!(json["best"][0]["throughput_mbit"], 93.2);
        assert!(json["best"][1]["throughput_mbit"].is_null());
        assert_eq!(json["best"][1]["received"], 1);
        assert!(
            render(&rows, Form::Table)
                .lines()
                .next()
                .expect("heads")
                .ends_with("Mbit/s  region  name")
        );
        let list = render(&rows, Form::List);
        let list = crate::candidates::CandidateSet::parse(&list, 1).expect("a candidate list");
        assert_eq!(list.name_of(&rows[1].addr), Some("香港, \"1\""));
        assert_eq!(json["best"][1]["name"], "香港, \"1\"");
    }
}
