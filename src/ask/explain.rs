//! Why the active set is what it is, as the process says it itself. Pure.
//!
//! The sentences are the process's; here they are only laid out.

use super::answers::{Explanation, Subject};
use super::words::{Layout, Paper, name_behind};

/// The explanations one after the other, on this paper.
pub(super) fn page(explanations: &[Explanation], paper: Paper) -> String {
    let mut layout = Layout::new(paper);
    for (place, explanation) in explanations.iter().enumerate() {
        if place > 0 {
            layout.gap();
        }
        explained(&mut layout, explanation);
    }
    layout.end()
}

fn explained(layout: &mut Layout, explanation: &Explanation) {
    let age = explanation
        .evaluated_seconds_ago
        .map_or_else(String::new, |age| format!(", evaluated {age:.1} s ago"));
    layout.say("", &format!("{}{age}", explanation.service));
    for sentence in &explanation.text {
        layout.say("  ", sentence);
    }
    for (title, subjects) in [
        ("members", &explanation.members),
        ("the best others", &explanation.others),
    ] {
        if !subjects.is_empty() {
            layout.say("  ", &format!("{title}:"));
        }
        for subject in subjects {
            told(layout, subject);
        }
    }
}

fn told(layout: &mut Layout, subject: &Subject) {
    let latency = subject
        .latency_ms
        .map_or_else(String::new, |latency| format!(", {latency:.2} ms"));
    layout.say(
        "    ",
        &format!(
            "{}{}, {:.1} points{latency}",
            subject.addr,
            name_behind(subject.name.as_ref()),
            subject.score
        ),
    );
    layout.say("      ", &subject.text);
    if let Some(change) = &subject.change {
        layout.say("      ", &format!("What would change it: {change}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::Letters;
    use serde_json::json;

    #[test]
    fn the_sentences_of_the_process_are_laid_out_at_any_width() {
        let explanation = json!({
            "service": "default", "evaluated_seconds_ago": 2.34,
            "text": ["All members pass the threshold of 50 points.", "The best candidates are the members."],
            "members": [{
                "addr": "192.0.2.1:443", "name": "hk 1", "score": 87.26, "latency_ms": 12.5,
                "text": "In for 30 s: chosen for the first set.", "change": null,
            }],
            "others": [{
                "addr": "192.0.2.9:443", "score": 0.0, "latency_ms": null,
                "text": "Out: known only from before, and not asked since.", "change": "It answers a probe.",
            }],
        });
        let one: Explanation = serde_json::from_value(explanation.clone()).expect("an explanation");
        let two: Explanation = serde_json::from_value(explanation).expect("an explanation");
        let on = |width| Paper {
            width,
            letters: Letters::Ascii,
        };
        let wide = page(&[one], on(None));
        assert_eq!(
            wide,
            "default, evaluated 2.3 s ago\n  All members pass the threshold of 50 points.\n  \
             The best candidates are the members.\n  members:\n    192.0.2.1:443 (hk 1), 87.3 points, 12.50 ms\n      \
             In for 30 s: chosen for the first set.\n  the best others:\n    192.0.2.9:443, 0.0 points\n      \
             Out: known only from before, and not asked since.\n      What would change it: It answers a probe.\n"
        );
        let narrow = page(&[two], on(Some(40)));
        assert!(narrow.lines().all(|line| line.len() <= 40), "{narrow}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&wide), words(&narrow));
    }
}
