//! The last hour as one drawing, made by hand: bars of what was done and what failed, no more than a table says beside it.

use std::fmt::Write as _;

use crate::memory::Minute;
use crate::show;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 48.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 10.0;

/// Tasks that ended in each minute, as SVG. Colours are those of the style sheet; what failed is hatched as well.
pub(crate) fn hour(minutes: &[Minute], clock: impl Fn(i64) -> String) -> String {
    let most = minutes.iter().map(|minute| minute.succeeded + minute.failed).max().unwrap_or(0);
    let scale = round_up(most);
    let plot = HEIGHT - BOTTOM - TOP;
    let step = (WIDTH - LEFT) / minutes.len().max(1) as f64;
    let (done, failed) = minutes.iter().fold((0, 0), |(d, f), minute| (d + minute.succeeded, f + minute.failed));
    let mut svg = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"hour-title hour-desc\">\
         <title id=\"hour-title\">Tasks that ended in each minute of the last hour</title>\
         <desc id=\"hour-desc\">{} succeeded, {} failed; the most in one minute was {}.</desc>\
         <defs><pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
         patternTransform=\"rotate(45)\"><rect class=\"failed\" width=\"6\" height=\"6\"/>\
         <rect class=\"stripe\" width=\"2\" height=\"6\"/></pattern></defs>",
        show::number(done),
        show::number(failed),
        show::number(most)
    );
    for part in 0..=2_u64 {
        let value = scale * part / 2;
        let y = TOP + plot - plot * value as f64 / scale as f64;
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{WIDTH}\" y2=\"{y:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            show::number(value)
        );
    }
    for (place, minute) in minutes.iter().enumerate() {
        let x = LEFT + step * place as f64;
        let tall = |count: u64| plot * count as f64 / scale as f64;
        let (ok, bad) = (tall(minute.succeeded), tall(minute.failed));
        let wide = step - 2.0;
        let base = TOP + plot;
        if minute.succeeded > 0 {
            let _ = write!(
                svg,
                "<rect class=\"done\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{wide:.1}\" height=\"{ok:.1}\"/>",
                base - ok
            );
        }
        if minute.failed > 0 {
            // One failure among thousands is to be seen.
            let bad = bad.max(3.0);
            let _ = write!(
                svg,
                "<rect class=\"hatched\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{wide:.1}\" height=\"{bad:.1}\"/>",
                (base - ok - bad).max(0.0)
            );
        }
        // The last label would stand beyond the edge.
        if minute.number % 10 == 0 && x < WIDTH - 30.0 {
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                x + step / 2.0,
                HEIGHT - 6.0,
                clock(minute.number)
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

/// The depths of a queue, small enough for a cell.
pub(crate) fn trend(depths: &[u64]) -> String {
    let most = depths.iter().copied().max().unwrap_or(0).max(1);
    let count = depths.len().max(2) as f64 - 1.0;
    let point = |(place, depth): (usize, &u64)| {
        format!("{:.1},{:.1}", place as f64 / count * 100.0 + 1.0, 21.0 - *depth as f64 / most as f64 * 19.0)
    };
    let points: Vec<_> = depths.iter().enumerate().map(point).collect();
    let told = format!("at most {} in a minute", show::number(depths.iter().copied().max().unwrap_or(0)));
    format!(
        "<svg class=\"trend\" viewBox=\"0 0 102 22\" role=\"img\" aria-label=\"{told}\"><polyline points=\"{}\"/></svg>",
        points.join(" ")
    )
}

/// The next of 2, 4, 10, 20, 40, 100, …: half of it is a whole number.
fn round_up(most: u64) -> u64 {
    let mut power = 1_u64;
    loop {
        for step in [2, 4, 10] {
            if most <= step * power {
                return step * power;
            }
        }
        power *= 10;
    }
}
