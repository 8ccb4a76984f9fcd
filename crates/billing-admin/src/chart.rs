//! Lines over days, as SVG: no more than the table beside it says. Colours are those of the style sheet, and each line is
//! dashed in its own way, so that nobody needs to see colours.

use chrono::NaiveDate;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

/// One line.
pub(crate) struct Line {
    pub(crate) name: String,
    /// A day that is not known is a gap.
    pub(crate) values: Vec<(NaiveDate, Option<f64>)>,
}

const SIZE: (u32, u32) = (960, 280);
/// What the library writes, and what stands in its place.
const INKS: [(RGBColor, &str, &str); 4] = [
    (RGBColor(1, 1, 1), "#010101", "var(--accent)"),
    (RGBColor(2, 2, 2), "#020202", "var(--ok)"),
    (RGBColor(3, 3, 3), "#030303", "var(--doubt)"),
    (RGBColor(4, 4, 4), "#040404", "var(--bad)"),
];
const TEXT: (RGBColor, &str, &str) = (RGBColor(5, 5, 5), "#050505", "var(--muted)");
const GRID: (RGBColor, &str, &str) = (RGBColor(6, 6, 6), "#060606", "var(--rule)");
/// On and off, in pixels; the first line is whole.
const DASHES: [(i32, i32); 4] = [(1, 0), (8, 4), (3, 3), (12, 3)];

/// The drawing. `None`: there is nothing to draw. `describes` is read to those who do not see it.
pub(crate) fn lines(title: &str, describes: &str, lines: &[Line], amount: impl Fn(f64) -> String) -> Option<String> {
    let days = || lines.iter().flat_map(|line| line.values.iter().map(|(day, _)| *day));
    let (first, last) = (days().min()?, days().max()?);
    let values = || lines.iter().flat_map(|line| line.values.iter().filter_map(|(_, value)| *value));
    let most = values().fold(0.0_f64, f64::max);
    let least = values().fold(0.0_f64, f64::min);
    if values().next().is_none() || first == last {
        return None;
    }
    let span = first..last;
    let range = least..if most > least { most * 1.05 } else { least + 1.0 };
    let mut svg = String::new();
    drawn(&mut svg, lines, span, range, &amount)?;
    for (_, written, wanted) in INKS.iter().chain([&TEXT, &GRID]) {
        svg = svg.replace(written, wanted);
    }
    let says = format!(
        "<svg role=\"img\" aria-labelledby=\"chart-title chart-says\" viewBox=\"0 0 {} {}\"><title id=\"chart-title\">{}</title>\
         <desc id=\"chart-says\">{}</desc>",
        SIZE.0,
        SIZE.1,
        escaped(title),
        escaped(describes)
    );
    let body = svg.split_once('>')?.1;
    Some(says + body)
}

fn drawn(
    svg: &mut String,
    lines: &[Line],
    span: std::ops::Range<NaiveDate>,
    range: std::ops::Range<f64>,
    amount: &impl Fn(f64) -> String,
) -> Option<()> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let font = || ("sans-serif", 13).into_font().color(&TEXT.0);
    let mut chart = ChartBuilder::on(&area)
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(96)
        .build_cartesian_2d(span, Into::<RangedCoordf64>::into(range))
        .ok()?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.0)
        .axis_style(GRID.0)
        .x_labels(8)
        .y_labels(5)
        .x_label_formatter(&|day| day.format("%d.%m").to_string())
        .y_label_formatter(&|value| amount(*value))
        .label_style(font())
        .draw()
        .ok()?;
    for (line, ((ink, ..), (on, off))) in lines.iter().zip(INKS.iter().zip(DASHES)) {
        // A gap ends a stretch.
        for stretch in line.values.split(|(_, value)| value.is_none()) {
            let points = stretch.iter().filter_map(|(day, value)| Some((*day, (*value)?)));
            let style = ink.stroke_width(2);
            let drawn = if off == 0 {
                chart.draw_series(LineSeries::new(points, style)).map(|_| ())
            } else {
                chart.draw_series(DashedLineSeries::new(points, on, off, style)).map(|_| ())
            };
            drawn.ok()?;
        }
    }
    area.present().ok()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(n: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 3, n).expect("a day")
    }

    #[test]
    fn colours_are_those_of_the_page_and_what_is_said_is_escaped() {
        let line = Line { name: "taken".into(), values: (1..=5).map(|n| (day(n), Some(f64::from(n)))).collect() };
        let svg = lines("<Taken>", "up & up", &[line], |value| format!("{value:.0}")).expect("a drawing");
        assert!(svg.starts_with("<svg role=\"img\"") && svg.contains("&lt;Taken&gt;") && svg.contains("up &amp; up"));
        assert!(svg.contains("var(--accent)") && !svg.contains("#010101") && !svg.contains("style="), "{svg}");
    }

    #[test]
    fn nothing_known_is_nothing_drawn() {
        assert!(lines("", "", &[], |_| String::new()).is_none());
        let unknown = Line { name: String::new(), values: vec![(day(1), None), (day(2), None)] };
        assert!(lines("", "", &[unknown], |_| String::new()).is_none());
    }
}
