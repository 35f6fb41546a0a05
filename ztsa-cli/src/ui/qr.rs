//! A URL as a QR code in half-block letters.

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

/// Draws `text` as a QR code, dark on light whatever the terminal's colours; `None` when it is too long for one.
pub(crate) fn qr(text: &str) -> Option<String> {
    let code = QrCode::new(text).ok()?;
    Some(code.render::<Dense1x2>().dark_color(Dense1x2::Dark).light_color(Dense1x2::Light).quiet_zone(true).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_fits_a_terminal() {
        let drawn = qr("https://idp.example.com/device?user_code=WDJB-MJHT").unwrap();
        assert!(drawn.lines().count() < 24, "{}", drawn.lines().count());
        assert!(drawn.lines().all(|line| line.chars().count() < 60));
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        assert_eq!(qr(&"x".repeat(10_000)), None);
    }
}
