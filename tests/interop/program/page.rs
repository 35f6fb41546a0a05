//! A person at an issuer's pages: curl with a cookie jar.

use crate::binary::command;
use crate::folder::Folder;
use crate::process::finish;

/// A browser without a screen: it keeps cookies and follows redirects.
pub struct Browser {
    folder: Folder,
}

impl Browser {
    pub fn new() -> Self {
        Self { folder: Folder::new("browser") }
    }

    /// Requests a page with these further arguments of curl and returns its body.
    pub fn open(&self, url: &str, arguments: &[&str]) -> String {
        let jar = self.folder.join("cookies");
        let mut curl = command("curl");
        curl.args(["--silent", "--show-error", "--fail-with-body", "--location", "--max-time", "20", "--cookie"]);
        finish(curl.arg(&jar).arg("--cookie-jar").arg(&jar).args(arguments).arg(url)).ok()
    }
}

/// The first form of a page: where it goes and what it holds.
pub struct Form {
    pub action: String,
    pub fields: Vec<(String, String)>,
}

impl Form {
    /// Reads a page's first form, if it has one.
    pub fn of(page: &str) -> Option<Self> {
        let form = page.split("<form").nth(1)?.split("</form>").next()?;
        let tags = form.split('<').filter(|tag| tag.starts_with("input") || tag.starts_with("button"));
        let fields = tags
            .filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default())))
            .collect();
        Some(Self { action: attribute(form.split('>').next()?, "action")?, fields })
    }

    /// Fills one field in, if the form has it.
    pub fn fill(&mut self, name: &str, value: &str) {
        for (_, field) in self.fields.iter_mut().filter(|(field, _)| field == name) {
            value.clone_into(field);
        }
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    Some(rest.split_once('"')?.0.replace("&amp;", "&"))
}
