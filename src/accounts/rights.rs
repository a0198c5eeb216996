//! Roles and rights.

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sees everything but the accounts.
    Viewer,
    /// Makes change sets.
    Editor,
    /// Approves those of others.
    Approver,
    /// Invites people and says what they may do.
    Manager,
}

/// One thing that a role may or may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// See the registry, the change sets, the history.
    See,
    /// Make a change set and submit it.
    Propose,
    /// Approve or refuse somebody else's.
    Approve,
    /// Apply a set of one's own first, to be reviewed afterwards.
    ApplyFirst,
    /// See and change accounts.
    ManageAccounts,
}

impl Role {
    /// Every role, the one with the fewest rights first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Editor, Self::Approver, Self::Manager];

    /// The word in the database and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Approver => "approver",
            Self::Manager => "manager",
        }
    }

    /// The role of a word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }

    /// Whether it has a right; [`Right::ApplyFirst`] is given to an account besides.
    #[must_use]
    pub const fn has(self, right: Right) -> bool {
        match right {
            Right::See => true,
            Right::Propose | Right::ApplyFirst => !matches!(self, Self::Viewer),
            Right::Approve => matches!(self, Self::Approver | Self::Manager),
            Right::ManageAccounts => matches!(self, Self::Manager),
        }
    }
}
