//! Curves on logarithmic axes, as SVG.

use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::coord::Shift;
use plotters::coord::combinators::IntoLogRange;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::PathElement;
use plotters::series::LineSeries;
use plotters::style::{BLACK, Color, RGBColor, WHITE};
use std::path::Path;

/// Why nothing could be drawn.
pub(crate) type Error = DrawingAreaErrorKind<std::io::Error>;

const SIZE: (u32, u32) = (1_200, 900);
const COLOURS: [RGBColor; 4] = [
    RGBColor(240, 160, 60),
    RGBColor(200, 60, 30),
    RGBColor(90, 160, 230),
    RGBColor(20, 70, 160),
];

/// A series of figures of one kind.
pub(crate) struct Curve {
    name: String,
    /// Place on the axis, and milliseconds.
    pub(crate) points: Vec<(usize, f64)>,
}

impl Curve {
    pub(crate) fn new(backend: &str, phase: &str) -> Self {
        Self {
            name: format!("{phase}, {backend}"),
            points: Vec::new(),
        }
    }
}

/// Curves with one pair of axes.
pub(crate) struct Panel {
    /// What the horizontal axis counts.
    pub(crate) title: &'static str,
    pub(crate) curves: Vec<Curve>,
}

/// Draws panels, two in a row.
pub(crate) fn draw(path: &Path, panels: &[Panel]) -> Result<(), Error> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let rows = panels.len().div_ceil(2);
    for (area, panel) in root.split_evenly((rows, 2)).iter().zip(panels) {
        draw_panel(area, panel)?;
    }
    root.present()
}

#[expect(clippy::cast_precision_loss, reason = "a place on an axis")]
fn place(count: usize) -> f64 {
    // There is no zero on such an axis: it stands one step before one.
    if count == 0 { 0.1 } else { count as f64 }
}

fn draw_panel(area: &DrawingArea<SVGBackend<'_>, Shift>, panel: &Panel) -> Result<(), Error> {
    let points = || panel.curves.iter().flat_map(|curve| &curve.points);
    let least = |one: f64, other: f64| one.min(other);
    let most = |one: f64, other: f64| one.max(other);
    let counts = || points().map(|(count, _)| place(*count));
    let times = || points().map(|(_, time)| *time);
    let horizontal = counts().fold(f64::MAX, least)..counts().fold(1.0, most) * 1.2;
    let vertical = times().fold(f64::MAX, least) * 0.7..times().fold(1.0, most) * 8.0;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .caption(panel.title, ("sans-serif", 20))
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(horizontal.log_scale(), vertical.log_scale())?;
    chart
        .configure_mesh()
        .y_desc("milliseconds")
        .x_label_formatter(&|x| match *x {
            x if x < 0.5 => "0".to_owned(),
            x => format!("{x:.0}"),
        })
        .y_label_formatter(&|y| format!("{y}"))
        .light_line_style(WHITE)
        .draw()?;
    for (curve, colour) in panel.curves.iter().zip(COLOURS) {
        let line = curve
            .points
            .iter()
            .map(|(count, time)| (place(*count), *time));
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(line, style).point_size(3))?
            .label(&curve.name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()
}
