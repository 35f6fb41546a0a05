//! A person at the issuer's pages: curl with a cookie jar, which follows redirects and fills forms in.

use crate::command::Failure;

use super::place::Place;
use super::process::finish;

/// Signs in as a person and approves what a device asks for, as a browser would.
///
/// Returns the titles of the pages on the way.
///
/// # Errors
/// A page is not what it should be; the error holds it.
pub(super) async fn approve(place: &Place, address: &str, person: &str) -> Result<Vec<String>, Failure> {
    let mut titles = Vec::new();
    let mut url = address.to_owned();
    let mut page = open(place, &url, &[]).await?;
    for _ in 0..5 {
        titles.push(title(&page));
        let Some(form) = Form::of(&page) else {
            let approved = page.contains("Approved");
            return if approved { Ok(titles) } else { Err(Failure::Wrong(format!("the page {url} says: {page}"))) };
        };
        url = join(&url, &form.action);
        page = open(place, &url, &form.filled(person)).await?;
    }
    Err(Failure::Wrong(format!("the issuer asks again and again: {}", titles.join(", "))))
}

async fn open(place: &Place, url: &str, fields: &[(String, String)]) -> Result<String, Failure> {
    let mut curl = place.command("curl");
    curl.args(["--silent", "--show-error", "--fail-with-body", "--location", "--max-time", "20", "--noproxy", "*"]);
    let jar = place.join("home/cookies");
    curl.arg("--cookie").arg(&jar).arg("--cookie-jar").arg(&jar);
    for (name, value) in fields {
        curl.arg("--data-urlencode").arg(format!("{name}={value}"));
    }
    finish(curl.arg(url)).await?.ok()
}

/// A page's first form.
struct Form {
    action: String,
    fields: Vec<(String, String)>,
}

impl Form {
    fn of(page: &str) -> Option<Self> {
        let (_, form) = page.split_once("<form")?;
        let (form, _) = form.split_once("</form>")?;
        let inputs = form.split("<input").skip(1).filter_map(|tag| tag.split('>').next());
        let fields =
            inputs.filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default())));
        let mut fields: Vec<_> = fields.collect();
        if form.contains("name=\"decision\"") {
            fields.push(("decision".to_owned(), "approve".to_owned()));
        }
        Some(Self { action: attribute(form.split('>').next()?, "action")?, fields })
    }

    /// The fields as a person sends them; at the development issuer the password is the name.
    fn filled(mut self, person: &str) -> Vec<(String, String)> {
        for (name, value) in &mut self.fields {
            if matches!(name.as_str(), "name" | "password") {
                person.clone_into(value);
            }
        }
        self.fields
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    Some(rest.split_once('"')?.0.replace("&amp;", "&"))
}

fn title(page: &str) -> String {
    let inside = page.split_once("<h1>").and_then(|(_, rest)| rest.split_once("</h1>"));
    inside.map_or_else(String::new, |(title, _)| title.to_owned())
}

/// Where a form's path leads, on the server that the page came from.
fn join(url: &str, action: &str) -> String {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(host..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| host + at);
    format!("{}{action}", url.get(..end).unwrap_or(url))
}
