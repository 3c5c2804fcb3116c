//! QR code, drawn by the server. It needs no script, and the secret does not leave the page.

use askama::Template;
use qrcode::{Color, QrCode};

use crate::domain::{Error, Result};

/// Width of the quiet zone in QR modules (ISO/IEC 18004 requires four).
const QUIET: usize = 4;

/// QR code as its template needs it.
#[derive(Debug, Clone, Template)]
#[template(path = "components/qr.html")]
pub struct Qr {
    /// Text alternative for readers who cannot see it.
    pub label: String,
    /// Side length in QR modules, including the quiet zone.
    pub side: usize,
    /// Dark modules as one SVG path.
    pub path: String,
}

impl askama::filters::HtmlSafe for Qr {}

impl Qr {
    pub fn new(text: &str, label: impl Into<String>) -> Result<Self> {
        let code = QrCode::new(text.as_bytes()).map_err(|error| Error::bug(error.to_string()))?;
        let width = code.width();
        let mut path = String::new();
        for (row, modules) in code.to_colors().chunks(width).enumerate() {
            for (start, length) in runs(modules) {
                path.push_str(&format!("M{} {}h{length}v1h-{length}z", start + QUIET, row + QUIET));
            }
        }
        Ok(Self { label: label.into(), side: width + 2 * QUIET, path })
    }
}

/// Returns the start and length of each run of dark modules in a row.
fn runs(modules: &[Color]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (place, _) in modules.iter().enumerate().filter(|(_, color)| **color == Color::Dark) {
        match runs.last_mut() {
            Some((start, length)) if *start + *length == place => *length += 1,
            _ => runs.push((place, 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_its_finder_in_the_corner() {
        let qr = Qr::new("otpauth://totp/x", "x").unwrap();
        assert!(qr.path.starts_with("M4 4h7v1h-7z"), "{}", qr.path);
        assert!(29 <= qr.side && qr.side % 2 == 1);
        assert_eq!(runs(&[Color::Dark, Color::Dark, Color::Light, Color::Dark]), [(0, 2), (3, 1)]);
    }
}
