//! Programs and people are told apart as public lists have them.
//!
//! Two of these judge the classifier: user agents of known crawlers, and those of people's
//! browsers (npm's `crawler-user-agents` 1.60.0, MIT, and `user-agents` 2.1.198, BSD-2-Clause).

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;
use waypost::core::scan::Agent;
use waypost::observe::classify;

/// Entries of the crawlers' list, by their pattern, that are not taken for programs, and why.
const EXCEPTIONS: [(&str, &str); 9] = [
    ("AP3A\\.240617\\.008", "a build of Android; its user agent is that of Instagram's in-app browser"),
    ("MetaIAB Facebook", "Facebook's in-app browser"),
    ("Code\\/1\\.", "an editor that a person works in, with its built-in browser"),
    ("Trae\\/", "an editor that a person works in, with its built-in browser"),
    ("Fluid", "a browser made for one site"),
    ("Dlc\\/", "a common word, which an application may have for a name"),
    ("NewsNow\\/", "a common word, which an application may have for a name"),
    ("Readable\\/", "a common word, which an application may have for a name"),
    ("newsai\\/", "a common word, which an application may have for a name"),
];

fn list(path: &str) -> Vec<Value> {
    let folder = std::env::var("WAYPOST_TEST_AGENTS").expect("tests/run installs the lists and names their folder");
    let path = PathBuf::from(folder).join("node_modules").join(path);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn is_bot(user_agent: &str) -> bool {
    classify(user_agent.as_bytes()).agent == Agent::Bot
}

#[test]
#[ignore = "needs npm's crawler-user-agents: tests/run"]
fn known_crawlers_are_bots() {
    let crawlers = list("crawler-user-agents/crawler-user-agents.json");
    let (mut all, mut missed) = (0, Vec::new());
    for crawler in &crawlers {
        for user_agent in crawler["instances"].as_array().into_iter().flatten() {
            all += 1;
            let user_agent = user_agent.as_str().unwrap();
            if !is_bot(user_agent) {
                missed.push((crawler["pattern"].as_str().unwrap(), user_agent));
            }
        }
    }
    println!("{} of {all} user agents of crawlers are flagged as bots", all - missed.len());
    assert!(all > 2000, "the list has {all} user agents");
    assert!(missed.len() * 200 <= all, "fewer than 99.5 % are flagged");
    let excepted: BTreeSet<&str> = EXCEPTIONS.iter().map(|(pattern, _)| *pattern).collect();
    assert_eq!(missed.iter().map(|(pattern, _)| *pattern).collect::<BTreeSet<_>>(), excepted, "{missed:#?}");
}

#[test]
#[ignore = "needs npm's user-agents: tests/run"]
fn no_browser_of_a_person_is_a_bot() {
    let people = list("user-agents/dist/user-agents.json");
    let people: BTreeSet<&str> = people.iter().map(|person| person["userAgent"].as_str().unwrap()).collect();
    assert!(people.len() > 500, "the list has {} user agents", people.len());
    let wrong: Vec<&&str> = people.iter().filter(|user_agent| is_bot(user_agent)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
