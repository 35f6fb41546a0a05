//! A URL as a QR code in half-block letters.

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use super::Style;

/// Draws `text` as a QR code; `None` when it is too long for one.
///
/// Readers want dark on light. With colour it is so on every terminal; without, the blocks stand for light, as on a
/// terminal with a dark background.
pub(crate) fn qr(text: &str, style: Style) -> Option<String> {
    let code = QrCode::new(text).ok()?;
    let (dark, light) =
        if style.is_colored() { (Dense1x2::Dark, Dense1x2::Light) } else { (Dense1x2::Light, Dense1x2::Dark) };
    let drawn = code.render::<Dense1x2>().dark_color(dark).light_color(light).quiet_zone(true).build();
    Some(drawn.lines().map(|line| style.paint("30;107", line)).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { color: false };

    #[test]
    fn a_url_fits_a_terminal() {
        let drawn = qr("https://idp.example.com/device?user_code=WDJB-MJHT", PLAIN).unwrap();
        assert!(drawn.lines().count() < 24, "{}", drawn.lines().count());
        assert!(drawn.lines().all(|line| line.chars().count() < 60));
    }

    #[test]
    fn the_quiet_zone_is_light() {
        let first = |style| qr("https://idp.example.com", style).unwrap().lines().next().map(str::to_owned).unwrap();
        assert!(first(PLAIN).starts_with('\u{2588}'), "{}", first(PLAIN));
        assert!(first(Style { color: true }).starts_with("\u{1b}[30;107m "));
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        assert_eq!(qr(&"x".repeat(10_000), PLAIN), None);
    }
}
