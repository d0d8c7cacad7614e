//! Curves as SVG: multiples of the optimum over probes, both by their logarithms.

use std::fmt::Write as _;

/// Where the curves lie, in pixels.
const LEFT: f64 = 60.0;
const TOP: f64 = 40.0;
const WIDE: f64 = 420.0;
const HIGH: f64 = 260.0;
/// From one to the next plot.
const STEP: f64 = 560.0;
/// Grey that is read on light and on dark, and a colour for each curve that is told apart without seeing colours, too.
const INK: &str = "#808080";
const CURVES: [(&str, &str); 4] = [
    ("#1f77b4", "none"),
    ("#d62728", "8 3"),
    ("#9467bd", "3 3"),
    ("#8c564b", "1 4"),
];

/// One plot: its title, and for each name its values at the same probes.
pub struct Plot {
    pub title: String,
    pub curves: Vec<(&'static str, Vec<f64>)>,
}

/// Plots side by side, over the same numbers of probes and up to the same multiple.
pub fn svg(probes: &[usize], most: f64, plots: &[Plot]) -> String {
    let width = STEP * plots.len() as f64;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} 380\" font-family=\"sans-serif\" font-size=\"12\" fill=\"{INK}\">\n"
    );
    let (first, last) = (probes[0] as f64, probes[probes.len() - 1] as f64);
    for (place, plot) in plots.iter().enumerate() {
        let x = |count: f64| LEFT + STEP * place as f64 + WIDE * (count / first).ln() / (last / first).ln();
        let y = |value: f64| TOP + HIGH * (1.0 - value.clamp(1.0, most).ln() / most.ln());
        let middle = x((first * last).sqrt());
        let mut tell = |x: f64, y: f64, anchor: &str, words: &str| {
            writeln!(
                text,
                "<text x=\"{x:.0}\" y=\"{y:.0}\" text-anchor=\"{anchor}\">{words}</text>"
            )
            .expect("a string");
        };
        tell(middle, 20.0, "middle", &plot.title);
        tell(middle, TOP + HIGH + 36.0, "middle", "probes");
        for count in probes {
            tell(x(*count as f64), TOP + HIGH + 18.0, "middle", &count.to_string());
        }
        for value in [1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0]
            .iter()
            .filter(|value| **value <= most)
        {
            tell(x(first) - 6.0, y(*value) + 4.0, "end", &format!("{value} ×"));
        }
        for (number, (name, _)) in plot.curves.iter().enumerate() {
            tell(x(last) - 150.0, TOP + 14.0 + 18.0 * number as f64, "start", name);
        }
        for value in [1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0]
            .iter()
            .filter(|value| **value <= most)
        {
            let (from, to, at) = (x(first), x(last), y(*value));
            writeln!(
                text,
                "<path d=\"M{from:.0} {at:.1}H{to:.0}\" stroke=\"{INK}\" stroke-opacity=\"0.25\"/>"
            )
            .expect("a string");
        }
        for (number, (_, values)) in plot.curves.iter().enumerate() {
            let (colour, dashes) = CURVES[number % CURVES.len()];
            let points: Vec<String> = (probes.iter().zip(values))
                .map(|(count, value)| format!("{:.1},{:.1}", x(*count as f64), y(*value)))
                .collect();
            let style =
                format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"");
            writeln!(text, "<polyline points=\"{}\" {style}/>", points.join(" ")).expect("a string");
            let (from, at) = (x(last) - 190.0, TOP + 10.0 + 18.0 * number as f64);
            writeln!(text, "<path d=\"M{from:.0} {at:.0}h34\" {style}/>").expect("a string");
        }
    }
    text + "</svg>\n"
}
