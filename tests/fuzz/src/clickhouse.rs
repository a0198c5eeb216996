//! ClickHouse's answers: a batch counts as stored only by a whole `200 OK` without a body, with a header that ClickHouse
//! alone sends, and without its exception's. What else an error says is one short line.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use jiff::tz::TimeZone;
use uuid::Uuid;
use waypost::core::Code;
use waypost::core::scan::{Agent, App, Channel, Client, Device, Origin, Os, Outcome, Scan, Word};
use waypost::store::{Batch, ClickHouse, ClickHouseSettings, StoreError};

/// Longest text of an error: what it quotes is bounded.
const MAX_TEXT: usize = 4096;
/// Exceptions that say that the batch itself, or the user, is refused: `src/store/clickhouse/mod.rs`.
const REJECTED: [&str; 7] = ["6", "53", "70", "117", "131", "349", "469"];
const UNAUTHORIZED: [&str; 5] = ["516", "497", "192", "193", "194"];

/// What a server answers to an insert, before it closes the connection.
pub fn run(input: &[u8]) {
    // One at a time: there is one answer.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    *SERVER.answer.lock().unwrap_or_else(PoisonError::into_inner) = input.to_vec();
    let mut store = ClickHouse::open(&SERVER.settings, &TimeZone::UTC).expect("a URL that can be parsed");
    let head = Head::read(input);
    let exception = head.as_ref().and_then(|head| head.value("x-clickhouse-exception-code"));
    match store.insert(&batch()) {
        Ok(()) => {
            let head = head.expect("an answer");
            assert!(head.is_ok, "stored, says what is not 200 OK");
            let is_clickhouse =
                ["x-clickhouse-query-id", "x-clickhouse-summary"].iter().any(|name| head.value(name).is_some());
            assert!(is_clickhouse, "stored, says somebody");
            assert_eq!(exception, None, "stored, says an exception");
        }
        Err(error) => {
            let told = error.to_string();
            assert!(told.len() <= MAX_TEXT && !told.chars().any(char::is_control), "{told:?}");
            let known = |codes: &[&str]| {
                exception.as_deref().is_some_and(|code| codes.contains(&code.trim_start_matches(['0', '+'])))
            };
            match error {
                StoreError::Rejected(_) => assert!(known(&REJECTED), "{told}"),
                StoreError::Unauthorized(_) => assert!(known(&UNAUTHORIZED), "{told}"),
                StoreError::Temporary(_) => assert!(exception.is_some(), "{told}"),
                StoreError::Unavailable(_) => {}
            }
        }
    }
}

/// The head of the answer, read by its lines alone.
struct Head {
    is_ok: bool,
    headers: Vec<(String, String)>,
}

impl Head {
    /// Passes over interim responses (RFC 9110 section 15.2).
    fn read(answer: &[u8]) -> Option<Self> {
        let text: String = answer.iter().map(|&byte| char::from(byte)).collect();
        let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
        loop {
            // Empty lines may precede it.
            let first = lines.by_ref().find(|line| !line.is_empty())?;
            let (_, status) = first.split_once(' ')?;
            let headers = lines.by_ref().take_while(|line| !line.is_empty());
            let headers = headers.filter_map(|line| line.split_once(':'));
            let headers =
                headers.map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned())).collect();
            if !status.trim_start().starts_with('1') {
                return Some(Self { is_ok: status.trim_start().starts_with("200"), headers });
            }
        }
    }

    /// The first of a name.
    fn value(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

/// Gives each connection the same answer, once it has the request.
struct Server {
    answer: Arc<Mutex<Vec<u8>>>,
    settings: ClickHouseSettings,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let answer = Arc::<Mutex<Vec<u8>>>::default();
    let to_give = answer.clone();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let answer = to_give.lock().unwrap_or_else(PoisonError::into_inner).clone();
            // A client that has seen enough closes: no matter.
            serve(connection, &answer).ok();
        }
    });
    let settings = ClickHouseSettings {
        urls: vec![url],
        apply_schema: false,
        connect_timeout: Duration::from_secs(5),
        timeout: Duration::from_secs(5),
        ..super::config(std::path::Path::new("")).store.clickhouse
    };
    Server { answer, settings }
});

fn serve(mut connection: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    // The last chunk of a body ends so.
    while !request.ends_with(b"0\r\n\r\n") {
        match connection.read(&mut piece)? {
            0 => return Ok(()),
            read => request.extend_from_slice(&piece[..read]),
        }
    }
    connection.write_all(answer)
}

fn batch() -> Batch {
    let scan = Scan {
        ts_ms: 1_795_737_600_000,
        generation: 1_795_000_000_000,
        code: Code::parse(b"7K3M9QX5").expect("a code"),
        outcome: Outcome::Found,
        channel: Channel::Qr,
        client: Client { device: Device::Phone, os: Os::Ios, app: App::Safari, agent: Agent::Person },
        repeat: false,
        lang: Word::new(),
        served: Word::new(),
        origin: Origin::default(),
    };
    Batch { id: Uuid::from_u128(1), edge: "test".to_owned(), scans: vec![(0, scan)] }
}
