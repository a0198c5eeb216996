//! An edge with a console, and an office that works with it: its own connections to the console's database do what
//! the pages do.

use std::sync::Arc;

use jiff::Timestamp;
use waypost::changes::{ChangeSet, Changes, Draft, State};
use waypost::history::{Action, Database, Entry, Filter, list, verify};
use waypost::source::{CellChange, Files, Sources, TableName};

use crate::support::{Edge, Setup, wait_for};

pub const AUTHOR: i64 = 1;
pub const APPROVER: i64 = 2;

pub const PLACES: &str = "place,kind,area,name,name:en,target,target:en\n\
    one,street,Kỳ Lừa,Đường Một,One Street,https://example.vn/vi/one,https://example.vn/en/one\n\
    two,street,Kỳ Lừa,Đường Hai,Two Street,https://example.vn/vi/two,https://example.vn/en/two\n";
/// The first has a target of its own, the second that of its place.
pub const SIGNS: &str = "code,place,status,target,note\n\
    A1B2C3,one,active,https://example.vn/own,\n\
    A1B2C4,two,active,,\n";

pub struct Office {
    pub edge: Edge,
    pub database: Arc<Database>,
    pub changes: Changes,
    /// The tables that the history begins with.
    begins: Sources,
}

pub fn setup() -> Setup {
    Setup::new().set("console", "listen", "\"127.0.0.1:0\"").registry(PLACES, SIGNS)
}

/// A change of a cell.
pub fn cell(table: TableName, key: &str, column: &str, old: &str, new: &str) -> CellChange {
    let (old, new) = (Some(old.to_owned()), Some(new.to_owned()));
    CellChange { table, key: key.to_owned(), column: column.to_owned(), old, new }
}

pub fn draft(cells: Vec<CellChange>) -> Draft {
    Draft { author: AUTHOR, reason: "trang mới".to_owned(), effective: None, cells, undoes: None, forced: false }
}

impl Office {
    /// Starts the edge, and knows when the history has begun.
    pub fn start(setup: Setup) -> Self {
        let database = Arc::new(Database::open(&setup.path("data/console.db")).unwrap());
        for name in ["hoa", "minh", "lan"] {
            let sql =
                "INSERT INTO accounts (name, role, areas, applies_first, created) VALUES (?1, 'manager', '[]', 1, 0)";
            database.write(|transaction| transaction.execute(sql, [name])).unwrap();
        }
        let changes = Changes::new(database.clone(), 1);
        let office = Self { edge: setup.start(), database, changes, begins: Sources::default() };
        wait_for("the history has begun", || (office.known() == office.tables()).then_some(()));
        Self { begins: office.tables(), ..office }
    }

    /// A set that somebody else has approved.
    pub fn approved(&self, draft: &Draft) -> i64 {
        let number = self.changes.draft(draft, Timestamp::now()).unwrap();
        self.changes.submit(number, AUTHOR, Timestamp::now()).unwrap();
        self.changes.approve(number, APPROVER, Timestamp::now()).unwrap();
        number
    }

    pub fn set(&self, number: i64) -> ChangeSet {
        self.changes.get(number).unwrap()
    }

    pub fn wait_until(&self, number: i64, state: State) -> ChangeSet {
        wait_for(state.as_str(), || Some(self.set(number)).filter(|set| set.state == state))
    }

    /// The tables on the disk.
    pub fn tables(&self) -> Sources {
        wait_for("the tables are not being written", || self.files().read().ok())
    }

    fn files(&self) -> Files {
        let path = |name: &str| self.edge.setup.path(&format!("config/{name}.csv"));
        Files { places: path("places"), signs: path("signs"), overrides: path("overrides") }
    }

    /// The tables as the history knows them.
    pub fn known(&self) -> Sources {
        let table = |name: TableName| {
            let sql = "SELECT coalesce((SELECT bytes FROM known WHERE tab = ?1), x'')";
            self.database.read(|connection| connection.query_row(sql, [name.as_str()], |row| row.get(0))).unwrap()
        };
        let [places, signs, overrides] = TableName::ALL.map(table);
        Sources { places, signs, overrides }
    }

    /// Whether a set's intent is there.
    pub fn is_applying(&self) -> bool {
        let sql = "SELECT EXISTS (SELECT 1 FROM intents)";
        self.database.read(|connection| connection.query_row(sql, [], |row| row.get(0))).unwrap()
    }

    /// Where a plate leads.
    pub fn location(&self, code: &str) -> String {
        self.edge.scan(&format!("/{code}")).location().unwrap_or_default().to_owned()
    }

    /// A cell of the tables on the disk.
    pub fn cell(&self, table: TableName, key: &str, column: &str) -> String {
        self.tables().cells(table).unwrap().get(key, column).unwrap_or_default().to_owned()
    }

    /// Every entry, the oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        let entries = self.database.read(|connection| list(connection, &Filter::default(), 0, 100_000));
        entries.unwrap().into_iter().rev().collect()
    }

    pub fn entries_of(&self, action: Action) -> Vec<Entry> {
        self.entries().into_iter().filter(|entry| entry.action == action).collect()
    }

    /// Nothing is due or half done, and what serves is what the tables say.
    pub fn wait_until_settled(&self) {
        wait_for("everything is settled", || {
            let due = self.changes.list(&[State::Approved], 0, 1).unwrap().is_empty();
            let generation = self.entries().iter().filter_map(|entry| entry.generations).next_back();
            let serves = self.edge.status()["registry"]["generation"].as_u64();
            let is_told = generation.is_none_or(|(_, after)| Some(after) == serves);
            (due && !self.is_applying() && is_told && self.known() == self.tables()).then_some(())
        });
    }

    /// The history is whole, and what it tells since it began makes the tables as they are; visitors get what these say.
    pub fn assert_agreement(&self) {
        let verified = self.database.read(|connection| verify(connection, None)).unwrap();
        assert_eq!(verified.problems, [""; 0]);
        let head = verified.head.to_string();
        let audit = self.edge.setup.command(&["audit", "verify", "--head", &head]).output().unwrap();
        assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stdout));

        let mut told = self.begins.clone();
        for entry in self.entries() {
            if matches!(entry.action, Action::Applied | Action::Outside) {
                let cells: Vec<CellChange> = serde_json::from_value(entry.details["cells"].clone()).unwrap();
                told = told.edit(&cells).unwrap_or_else(|conflicts| panic!("entry {}: {conflicts:?}", entry.seq));
            }
        }
        let tables = self.tables();
        assert_eq!(told.difference(&tables).unwrap(), []);
        for set in self.changes.list(&[], 0, 100_000).unwrap() {
            let applied = self.entries_of(Action::Applied);
            let times = applied.iter().filter(|entry| entry.change_set == Some(set.number)).count();
            assert_eq!(times, usize::from(set.state == State::Applied), "set {}", set.number);
        }

        let (places, signs) = (tables.cells(TableName::Places).unwrap(), tables.cells(TableName::Signs).unwrap());
        for code in signs.keys().filter(|code| signs.get(code, "status") == Some("active")) {
            let own = signs.get(code, "target").filter(|target| !target.is_empty());
            let place = signs.get(code, "place").unwrap();
            assert_eq!(self.location(code), own.or(places.get(place, "target")).unwrap(), "{code}");
        }
    }
}
