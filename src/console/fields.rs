//! The fields of a query or a form, and files that came with it.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;
use multer::Multipart;

/// Fields that are read of a form; what lies behind is left out.
const MOST_FIELDS: usize = 10_000;

/// Names and values, in the order in which they came.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    pub list: Vec<(String, String)>,
    /// The file of a form with an upload: its field, and its bytes.
    pub upload: Option<(String, Vec<u8>)>,
}

impl Fields {
    /// Of a query, or the body of a form as browsers send it.
    pub fn parse(text: &str) -> Self {
        let list = url::form_urlencoded::parse(text.as_bytes()).take(MOST_FIELDS).map(owned).collect();
        Self { list, upload: None }
    }

    /// Of a body, by its content type; `None`: it is no form.
    pub async fn read(headers: &HeaderMap, body: Bytes) -> Option<Self> {
        let kind = headers.get(CONTENT_TYPE).map_or(Some(""), |kind| kind.to_str().ok())?;
        let is = |name: &str| kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(name));
        if is("multipart/form-data") {
            return Self::read_parts(&multer::parse_boundary(kind).ok()?, body).await;
        }
        if !is("application/x-www-form-urlencoded") && (!is("") || !body.is_empty()) {
            return None;
        }
        Some(Self::parse(&String::from_utf8_lossy(&body)))
    }

    async fn read_parts(boundary: &str, body: Bytes) -> Option<Self> {
        let mut fields = Self::default();
        let mut parts = Multipart::new(Full::new(body).into_data_stream(), boundary);
        while let Some(part) = parts.next_field().await.ok()? {
            let (name, is_file) = (part.name().unwrap_or_default().to_owned(), part.file_name().is_some());
            let bytes = part.bytes().await.ok()?;
            if is_file {
                // Of several files the first counts; one that was not chosen comes empty and without a name.
                fields.upload.get_or_insert_with(|| (name, bytes.to_vec()));
            } else if fields.list.len() < MOST_FIELDS {
                fields.list.push((name, String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
        Some(fields)
    }

    /// The first value of a field, trimmed; empty where there is none.
    pub fn get(&self, name: &str) -> &str {
        self.list.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.trim())
    }

    /// Each value of a field.
    pub fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.list.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.trim())
    }

    /// Whether a box is ticked.
    pub fn has(&self, name: &str) -> bool {
        self.list.iter().any(|(known, _)| known == name)
    }

    /// The query of the same page with some fields changed: an empty value leaves a field out.
    pub fn with(&self, changes: &[(&str, &str)]) -> String {
        let kept = self.list.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let kept = kept.filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in kept.chain(changes.iter().copied()).filter(|(_, value)| !value.is_empty()) {
            query.append_pair(name, value);
        }
        query.finish()
    }
}

fn owned((name, value): (Cow<'_, str>, Cow<'_, str>)) -> (String, String) {
    (name.into_owned(), value.into_owned())
}
