//! Lines over days, and bars beside one another, as SVG: no more than the table beside it says. Colours are those of the
//! style sheet, and each line is dashed in its own way, so that nobody needs to see colours; bars stand in one order.

use chrono::NaiveDate;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

/// One line.
pub(crate) struct Line {
    pub(crate) name: String,
    /// A day that is not known is a gap.
    pub(crate) values: Vec<(NaiveDate, Option<f64>)>,
}

/// Bars in groups: in each of them the same ones, in the same order, at most as many as there are inks.
pub(crate) struct Bars {
    pub(crate) groups: Vec<&'static str>,
    /// With a height in each group.
    pub(crate) bars: Vec<(&'static str, Vec<i64>)>,
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
    finished(svg, title, describes)
}

/// Likewise, of bars.
pub(crate) fn bars(title: &str, describes: &str, bars: &Bars) -> Option<String> {
    let highest = bars.bars.iter().flat_map(|(_, heights)| heights.iter().copied()).max().filter(|most| *most > 0)?;
    let mut svg = String::new();
    erected(&mut svg, bars, real(highest) * 1.15)?;
    finished(svg, title, describes)
}

/// With the colours of the page, and with words for those who do not see it.
fn finished(mut svg: String, title: &str, describes: &str) -> Option<String> {
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

fn erected(svg: &mut String, bars: &Bars, top: f64) -> Option<()> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let font = || ("sans-serif", 13).into_font().color(&TEXT.0);
    let right = real(i64::try_from(bars.groups.len()).ok()?);
    let mut chart = ChartBuilder::on(&area)
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..right, 0.0..top)
        .ok()?;
    // The name of a group stands below its middle.
    let name = |at: &f64| {
        let group = bars.groups.iter().zip(0_i64..).find(|(_, group)| (*at - real(*group) - 0.5).abs() < 0.01);
        group.map_or_else(String::new, |(name, _)| (*name).to_owned())
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.0)
        .axis_style(GRID.0)
        .x_labels(2 * bars.groups.len() + 1)
        .y_labels(5)
        .x_label_formatter(&name)
        .y_label_formatter(&|value| if value.fract().abs() < 0.01 { format!("{value:.0}") } else { String::new() })
        .label_style(font())
        .draw()
        .ok()?;
    let width = 0.8 / real(i64::try_from(bars.bars.len()).ok()?);
    for ((_, heights), ((ink, ..), number)) in bars.bars.iter().zip(INKS.iter().zip(0_i64..)) {
        let left = |group: i64| real(group) + 0.1 + real(number) * width;
        let standing = || heights.iter().zip(0_i64..).filter(|(height, _)| **height > 0);
        let bar = |(height, group): (&i64, i64)| {
            Rectangle::new([(left(group), 0.0), (left(group) + width * 0.9, real(*height))], ink.filled())
        };
        chart.draw_series(standing().map(bar)).ok()?;
        let label = |(height, group): (&i64, i64)| {
            Text::new(height.to_string(), (left(group) + width * 0.3, real(*height) + top * 0.06), font())
        };
        chart.draw_series(standing().map(label)).ok()?;
    }
    area.present().ok()
}

#[expect(clippy::cast_precision_loss, reason = "a drawing")]
fn real(number: i64) -> f64 {
    number as f64
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
    fn bars_stand_in_their_groups_with_their_numbers() {
        let of = |heights: Vec<i64>| Bars { groups: vec!["In doubt", "Under way"], bars: vec![("new", heights)] };
        let svg = bars("Not settled", "7 in doubt", &of(vec![7, 0])).expect("a drawing");
        assert!(svg.contains("In doubt") && svg.contains("Under way") && svg.contains("\n7\n"), "{svg}");
        assert!(svg.contains("var(--accent)") && !svg.contains("style="), "{svg}");
        assert!(bars("", "", &of(vec![0, 0])).is_none(), "nothing is nothing drawn");
    }

    #[test]
    fn nothing_known_is_nothing_drawn() {
        assert!(lines("", "", &[], |_| String::new()).is_none());
        let unknown = Line { name: String::new(), values: vec![(day(1), None), (day(2), None)] };
        assert!(lines("", "", &[unknown], |_| String::new()).is_none());
    }
}
