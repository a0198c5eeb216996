//! The fields of a query or a form, and files that came with it.

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
        let list = url::form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        Self { list, upload: None }
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
