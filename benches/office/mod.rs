//! Administrators at the console, as a measurement needs them: they sign in, look at pages, upload tables.

use std::error::Error;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const PASSWORD: &str = "mười hai con giáp 12";

/// Somebody who is signed in.
pub struct Person {
    agent: ureq::Agent,
    origin: String,
    cookie: String,
}

/// What a page took.
#[allow(dead_code, reason = "each benchmark looks at some of it")]
pub struct Page {
    pub status: u16,
    pub took: Duration,
    pub bytes: usize,
    /// Where it leads, after a form.
    pub location: Option<String>,
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0);
    config.timeout_global(Some(Duration::from_mins(2))).build().new_agent()
}

/// The console's address and the link that makes the first account, as the log (JSON) has them.
pub fn invitation(log: &str) -> Option<String> {
    let after = log.split_once("\"url\":\"")?.1;
    Some(after.split('"').next()?.to_owned())
}

impl Person {
    /// Takes an invitation; the first account's name may be chosen, the others' stand.
    pub fn invited(invitation: &str, name: &str) -> Result<Self> {
        let (origin, _) = invitation.split_once("/invite/").ok_or("no invitation")?;
        Self::enter(origin, invitation, name).ok_or("the account was not made".into())
    }

    /// Signs in; `None` where that is refused: too many at once.
    #[allow(dead_code, reason = "each benchmark uses some of it")]
    pub fn sign_in(origin: &str, name: &str) -> Option<Self> {
        Self::enter(origin, &format!("{origin}/login"), name)
    }

    fn enter(origin: &str, url: &str, name: &str) -> Option<Self> {
        let agent = agent();
        let response = agent.post(url).send_form([("name", name), ("password", PASSWORD)]).ok()?;
        let cookie = response.headers().get("set-cookie")?.to_str().ok()?;
        let cookie = cookie.split(';').next()?.to_owned();
        (response.status() == 303).then(|| Self { agent, origin: origin.to_owned(), cookie })
    }

    #[allow(dead_code, reason = "each benchmark uses some of it")]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Looks at a page.
    #[allow(dead_code, reason = "each benchmark uses some of it")]
    pub fn get(&self, path: &str) -> Result<Page> {
        let begun = Instant::now();
        let mut response = self.agent.get(format!("{}{path}", self.origin)).header("cookie", &self.cookie).call()?;
        let body = response.body_mut().with_config().limit(64 << 20).read_to_vec()?;
        Ok(Page { status: response.status().as_u16(), took: begun.elapsed(), bytes: body.len(), location: None })
    }

    /// Uploads a table as a dry run: a draft, or none where it changes nothing.
    pub fn import(&self, table: &str, kind: &str, csv: &str) -> Result<Page> {
        const EDGE: &str = "----measurement";
        let mut body = String::with_capacity(csv.len() + 1000);
        for (name, value) in [("table", table), ("kind", kind), ("reason", "measurement")] {
            body += &format!("--{EDGE}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        }
        body += &format!("--{EDGE}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"t.csv\"\r\n\r\n");
        body += csv;
        body += &format!("\r\n--{EDGE}--\r\n");
        let begun = Instant::now();
        let request = self.agent.post(format!("{}/import", self.origin)).header("cookie", &self.cookie);
        let request = request.header("content-type", format!("multipart/form-data; boundary={EDGE}"));
        let mut response = request.send(body.as_str())?;
        let bytes = response.body_mut().with_config().limit(64 << 20).read_to_vec()?.len();
        let location = response.headers().get("location").and_then(|at| at.to_str().ok()).map(str::to_owned);
        Ok(Page { status: response.status().as_u16(), took: begun.elapsed(), bytes, location })
    }
}
