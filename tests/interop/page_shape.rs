//! The pages of our development issuer, as a real browser shows them.

use serde_json::{Value, json};

use crate::program::chromium::Chromium;
use crate::program::idp::Idp;

/// The least contrast of text that is not large (WCAG 2.2, 1.4.3).
const READABLE: f64 = 4.5;

#[test]
fn the_pages_of_ztsa_idp_fit_a_telephone_and_can_be_read_in_the_light_and_in_the_dark() {
    let idp = Idp::start(&["--audience", "https://gw.example.com"]);
    let chromium = Chromium::start();
    let authorize = format!(
        "{}/authorize?response_type=code&client_id=ztsa-cli&redirect_uri=http%3A%2F%2F127.0.0.1%3A45678%2Fcallback\
         &scope=openid+profile+email+offline_access&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM\
         &code_challenge_method=S256&state=s&prompt=login&acr_values=mfa",
        idp.issuer
    );
    let right = json!({"#name": "alice", "#password": "alice", "#code": "000000"});
    let wrong = json!({"#name": "alice", "#password": "mallory", "#code": "000000"});
    let sign_in = json!([{"text": "Sign in"}]);
    // address, what is typed and pressed, words of the page to look at
    let pages: [(&str, &Value, &Value, &str); 5] = [
        (&format!("{}/device", idp.issuer), &json!({}), &json!([]), "Enter the code"),
        (&authorize, &json!({}), &json!([]), "One-time code"),
        (&authorize, &wrong, &sign_in, "is wrong"),
        (&authorize, &right, &sign_in, "Did you start this yourself?"),
        (
            &format!("{}/nowhere?x=1", idp.issuer).replace("nowhere", "authorize"),
            &json!({}),
            &json!([]),
            "cannot begin",
        ),
    ];
    for scheme in ["light", "dark"] {
        for (url, fill, press, until) in &pages {
            let job = json!({"url": url, "fill": fill, "press": press, "until": until, "width": 360, "height": 740, "scheme": scheme});
            let seen = chromium.go(&job);
            let least = seen["contrast"]["ratio"].as_f64().unwrap();
            assert!(least >= READABLE, "{scheme} {until}: {least} at {}", seen["contrast"]["text"]);
            assert_eq!(seen["wide"]["page"], 360, "{scheme} {until}: wider than the screen");
        }
    }
}
