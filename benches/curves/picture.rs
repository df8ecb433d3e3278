//! A picture of curves, as SVG on white, which can be read on a dark page as well; and the same as a table.

use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;

const SIZE: (u32, u32) = (760, 440);
/// Told apart by people who see colours differently.
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 90, 181), RGBColor(220, 50, 32), RGBColor(0, 128, 96), RGBColor(120, 70, 160)];
const AXIS: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(225, 225, 225);

/// One curve.
pub struct Line {
    pub name: &'static str,
    pub points: Vec<(f64, f64)>,
}

impl Line {
    pub fn new(name: &'static str) -> Self {
        Self { name, points: Vec::new() }
    }
}

/// Curves over the same axis, which is logarithmic.
pub struct Picture {
    /// Of the file, and to measure only this one.
    pub name: &'static str,
    pub title: &'static str,
    pub x: &'static str,
    pub y: &'static str,
    pub lines: Vec<Line>,
}

impl Picture {
    fn x_range(&self) -> Range<f64> {
        let xs = || self.lines.iter().flat_map(|line| line.points.iter().map(|point| point.0));
        xs().fold(f64::MAX, f64::min)..xs().fold(f64::MIN, f64::max)
    }

    fn y_max(&self) -> f64 {
        let most = self.lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(0.0, f64::max);
        most * 1.1
    }

    /// Writes `folder/name.svg`.
    pub fn draw(&self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join(self.name).with_extension("svg");
        let area = SVGBackend::new(&path, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", 18).into_font().color(&AXIS))
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(self.x_range().log_scale(), 0.0..self.y_max())?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&|x| grouped(*x))
            .y_label_formatter(&|y| grouped(*y))
            .light_line_style(WHITE)
            .bold_line_style(GRID)
            .axis_style(AXIS)
            .label_style(("sans-serif", 13).into_font().color(&AXIS))
            .draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS) {
            let legend = move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2));
            let points = || line.points.iter().copied();
            chart.draw_series(LineSeries::new(points(), colour.stroke_width(2)))?.label(line.name).legend(legend);
            chart.draw_series(points().map(|point| Circle::new(point, 3, colour.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE)
            .border_style(GRID)
            .label_font(("sans-serif", 13).into_font().color(&AXIS))
            .draw()?;
        area.present()?;
        Ok(())
    }

    /// The figures, as Markdown.
    pub fn table(&self) -> String {
        let names: Vec<&str> = self.lines.iter().map(|line| line.name).collect();
        let mut text = format!("| {} | {} |\n| --- |{}\n", self.x, names.join(" | "), " --- |".repeat(names.len()));
        for (row, (x, _)) in self.lines[0].points.iter().enumerate() {
            let cells: Vec<String> = self.lines.iter().map(|line| figure(line.points[row].1)).collect();
            text.push_str(&format!("| {} | {} |\n", grouped(*x), cells.join(" | ")));
        }
        text
    }
}

/// Three digits, or more where the figure has more before the point.
fn figure(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { grouped(value) }
}

/// 12,345
fn grouped(value: f64) -> String {
    if value < 10.0 && value.fract() > 0.001 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let places = digits.len();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (places - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
