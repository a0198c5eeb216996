-- The console's own file: who may do what, what is to be changed, and what was done.
-- Times are milliseconds since the Unix epoch, UTC.

CREATE TABLE accounts (
    number         INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: the history names people by it
    name           TEXT NOT NULL UNIQUE,    -- as it is typed at the sign-in, in NFC; of an erased one "#7"
    role           TEXT NOT NULL,           -- viewer, editor, approver, manager
    areas          TEXT NOT NULL,           -- a JSON list; empty: every area
    applies_first  INTEGER NOT NULL,        -- whether it may apply a change that is reviewed afterwards
    language       TEXT NOT NULL DEFAULT '',-- of the pages; empty: the browser's
    password       TEXT,                    -- argon2id in PHC form; NULL until the invitation is taken
    totp           BLOB,                    -- the secret of the second factor; NULL: none
    totp_step      INTEGER NOT NULL DEFAULT 0, -- the last step whose code was taken: none is taken twice
    created        INTEGER NOT NULL,
    last_sign_in   INTEGER,
    disabled       INTEGER                  -- since when it may not sign in; NULL: it may
) STRICT;

CREATE TABLE recovery_codes (               -- for a lost phone: each once
    account INTEGER NOT NULL REFERENCES accounts (number),
    hash    BLOB NOT NULL,                  -- SHA-256
    PRIMARY KEY (account, hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    hash      BLOB PRIMARY KEY,             -- SHA-256 of what the cookie has
    number    INTEGER NOT NULL UNIQUE,      -- by which a page names it
    account   INTEGER NOT NULL REFERENCES accounts (number),
    client    TEXT NOT NULL,                -- such as "chrome, android": no user agent, no address
    created   INTEGER NOT NULL,
    last_used INTEGER NOT NULL,
    expires   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE invitations (                  -- one-time links
    hash    BLOB PRIMARY KEY,               -- SHA-256 of what the link has
    account INTEGER REFERENCES accounts (number), -- NULL: it makes the first account
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE change_sets (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    state         TEXT NOT NULL,            -- draft, submitted, approved, applied, refused, withdrawn, conflict
    author        INTEGER NOT NULL REFERENCES accounts (number),
    reason        TEXT NOT NULL,
    created       INTEGER NOT NULL,
    submitted     INTEGER,
    effective     INTEGER,                  -- when it is to be applied; NULL: at once
    approver      INTEGER REFERENCES accounts (number), -- NULL where none was needed
    decided       INTEGER,                  -- when it was approved or refused
    remark        TEXT NOT NULL DEFAULT '', -- why it was refused, or could not be applied
    applied       INTEGER,
    before        INTEGER,                  -- the generation before it was applied
    after         INTEGER,                  -- the generation that has it
    undoes        INTEGER REFERENCES change_sets (number),
    applies_first INTEGER NOT NULL DEFAULT 0, -- whether it is reviewed after it is applied
    reviewer      INTEGER REFERENCES accounts (number),
    reviewed      INTEGER,
    forced        INTEGER NOT NULL DEFAULT 0  -- whether it may lose more signs than registry.max_shrink
) STRICT;
CREATE INDEX change_sets_by_state ON change_sets (state, effective);

CREATE TABLE change_cells (
    change_set INTEGER NOT NULL REFERENCES change_sets (number),
    position   INTEGER NOT NULL,
    tab        TEXT NOT NULL,               -- places, signs, overrides
    key        TEXT NOT NULL,               -- of the row
    col        TEXT NOT NULL,               -- as target:en
    old        TEXT,                        -- NULL: the row is not there
    new        TEXT,                        -- NULL: the row goes
    PRIMARY KEY (change_set, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX change_cells_by_row ON change_cells (tab, key);

CREATE TABLE intents (                      -- what is being applied; at most one set at a time
    change_set INTEGER NOT NULL REFERENCES change_sets (number),
    tab        TEXT NOT NULL,
    old_hash   BLOB NOT NULL,               -- SHA-256 of the table before
    new_hash   BLOB NOT NULL,
    bytes      BLOB NOT NULL,               -- the table as it will be
    before     INTEGER NOT NULL,            -- the generation before
    written    INTEGER NOT NULL DEFAULT 0,  -- whether the tables have it, and only the history does not
    PRIMARY KEY (change_set, tab)
) STRICT, WITHOUT ROWID;

CREATE TABLE known (                        -- the tables as the history knows them: a difference was made elsewhere
    tab        TEXT PRIMARY KEY,
    bytes      BLOB NOT NULL,
    generation INTEGER NOT NULL             -- that had them first
) STRICT, WITHOUT ROWID;

CREATE TABLE history (
    seq        INTEGER PRIMARY KEY,         -- from 1, without a gap
    time       INTEGER NOT NULL,
    account    INTEGER,                     -- who; NULL: somebody outside the console, or the console itself
    action     TEXT NOT NULL,
    object     TEXT NOT NULL,               -- what it was done to
    change_set INTEGER,
    reason     TEXT NOT NULL,
    approver   INTEGER,
    before     INTEGER,                     -- generations
    after      INTEGER,
    details    TEXT NOT NULL,               -- JSON
    previous   BLOB NOT NULL,               -- the hash of the entry before
    hash       BLOB NOT NULL                -- of this one: see entry.rs
) STRICT;
CREATE INDEX history_by_set ON history (change_set);
CREATE INDEX history_by_account ON history (account);

CREATE TABLE history_objects (              -- everything that an entry is about, to find it by
    object TEXT NOT NULL,                   -- as "signs 7K3M9QX2", "set 17"
    seq    INTEGER NOT NULL REFERENCES history (seq),
    PRIMARY KEY (object, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX history_objects_by_entry ON history_objects (seq, object);

CREATE TRIGGER history_is_appended BEFORE INSERT ON history
    WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM history)
    BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER history_is_never_changed BEFORE UPDATE ON history
    BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER history_is_never_cut BEFORE DELETE ON history
    BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER history_objects_are_never_changed BEFORE UPDATE ON history_objects
    BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER history_objects_are_never_cut BEFORE DELETE ON history_objects
    BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
