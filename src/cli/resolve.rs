//! `waypost resolve`

use std::io::Write;

use serde_json::json;

use super::{CommandError, OutputFormat, registry, time};
use crate::config::Config;
use crate::core::{Code, LanguagePreference};
use crate::registry::{Registry, SignRef, Status, TargetSource, as_sent};

/// Show which page a code leads to, and why
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  waypost resolve 7K3M-9QX5\n  waypost resolve 7K3M-9QX5 --lang zh --at 2027-02-28T09:00\n  \
waypost resolve '/vi/duong/hung-vuong?id=12'"
)]
pub(super) struct Resolve {
    /// A code as printed or typed (7K3M-9QX5, 7k3m9qx5), or an old path that is an alias of a sign
    code: String,
    /// The visitor's languages, as a phone sends them: zh, or "zh-TW,en;q=0.5"
    #[arg(long, value_name = "LANG")]
    lang: Option<String>,
    /// A time instead of now: 2027-02-28, or 2027-02-28T09:00, with or without an offset
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

impl Resolve {
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
        let registry = registry(config)?;
        let at = self.at.as_deref().map_or(Ok(jiff::Timestamp::now()), |text| time(config, "--at", text))?;
        let sign = self.find(&registry)?;
        let preference = LanguagePreference::read(None, self.lang.as_deref());
        let (now_ms, place) = (at.as_millisecond(), sign.place());
        let targets = sign.targets(now_ms);
        let retired = sign.status() == Status::Retired;
        let target = targets.choose(&preference).filter(|_| !retired);
        let told = place.choose_about(&preference).filter(|_| sign.has_own_page(&targets));
        let answer = if retired {
            410
        } else if target.is_some() {
            302
        } else {
            200
        };
        let why = match targets.source() {
            _ if retired => "the sign is retired: a page says so",
            _ if told.is_some() => "no target is in force, and the place has a text",
            TargetSource::SignOverride => "an override of the sign holds at this time",
            TargetSource::PlaceOverride => "an override of the place holds at this time",
            TargetSource::Sign => "the sign has a target of its own",
            TargetSource::Place => "the target of the place",
        };
        let language = target.map(|target| target.language).or(told.map(|(language, _)| language));
        let languages: Vec<&str> = match told {
            Some(_) => place.abouts().map(|(language, _)| language).collect(),
            None => targets.iter().map(|target| target.language).collect(),
        };
        if self.format == OutputFormat::Json {
            let resolved = json!({
                "code": sign.code().to_string(),
                "status": sign.status().as_str(),
                "place": place.id(),
                "name": place.name(),
                "area": place.area(),
                "at": at.to_string(),
                "answer": answer,
                "target": target.map(|target| target.url),
                "language": language,
                "languages": languages,
                "why": why,
                "successor": sign.successor().map(|sign| sign.code().to_string()),
            });
            writeln!(out, "{resolved:#}")?;
            return Ok(());
        }
        let shown = match (target, told) {
            (Some(target), _) => format!("{answer} {}", target.url),
            (None, Some((language, _))) => format!("{answer} the place's own page in {language}"),
            (None, None) => answer.to_string(),
        };
        let mut rows = vec![
            ("code", format!("{} ({})", sign.code(), sign.status().as_str())),
            ("place", format!("{} ({})", place.name(), place.id())),
            (
                "at",
                at.to_zoned_datetime(config.registry.rules.timezone.clone())
                    .strftime("%Y-%m-%d %H:%M:%S %:z")
                    .to_string(),
            ),
            ("answer", shown),
            ("why", why.to_owned()),
        ];
        if let Some(language) = language {
            rows.push(("language", format!("{language} (of {})", languages.join(", "))));
        }
        if let Some(successor) = sign.successor() {
            rows.push(("successor", format!("{} ({})", successor.code(), successor.place().name())));
        }
        for (name, value) in rows {
            writeln!(out, "{name:<10} {value}")?;
        }
        Ok(())
    }

    fn find<'r>(&self, registry: &'r Registry) -> Result<SignRef<'r>, CommandError> {
        // People write it as in the table, with letters that browsers escape.
        let path = self.code.starts_with('/').then(|| as_sent(&self.code).ok()).flatten();
        if let Some(sign) = path.and_then(|path| registry.alias(&path)) {
            return Ok(sign);
        }
        let code: Code =
            self.code.parse().map_err(|source| CommandError::NotACode { text: self.code.clone(), source })?;
        // A code as long as those that are drawn, with another check character, was misread or mistyped.
        let is_misread = code.text().len() == 8 && !code.is_checked();
        registry.sign(code).ok_or(CommandError::NoSign { code, is_misread })
    }
}
