//! Signs that are silent together: one alarm, and not one for each.
//!
//! Owns what together means. Three neighbours or more whose alarms came within a week of the next are a street that is
//! closed. More than a fifth of an area's signs with an alarm in the last 30 days are the area, and more than half of
//! all are the edge, its line or the province; of those that can be judged. (Not by a week: signs of one accident get
//! their alarms by and by, the rarely scanned ones last.)

use std::collections::{BTreeMap, HashMap};

use super::{Assessment, Day, Sign, State};

/// Neighbours are this many metres apart, or of one place.
pub const NEAR: f64 = 300.0;
/// Alarms within so many days of each other belong together.
const DAYS: Day = 7;
/// Alarms of an area or of the province that are not older than so many days belong together.
const RECENT: Day = 30;
/// So many signs are a group.
const LEAST: usize = 3;
/// More than one of so many signs of an area are the area.
const OF_AREA: usize = 5;
/// More than one of so many of all signs are everybody.
const OF_ALL: usize = 2;

/// What a group of silent signs has in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupKind {
    /// They are neighbours.
    Street,
    /// They are in one commune or ward.
    Area,
    /// They are everywhere: look at the edge first.
    Province,
}

impl GroupKind {
    /// Every kind, the smallest first.
    pub const ALL: [Self; 3] = [Self::Street, Self::Area, Self::Province];

    /// The word in tables and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Street => "street",
            Self::Area => "area",
            Self::Province => "province",
        }
    }
}

/// Signs that are silent together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What they have in common.
    pub kind: GroupKind,
    /// The name of the place of most of them, or of the area; empty for [`GroupKind::Province`].
    pub name: String,
    /// How many they are.
    pub signs: usize,
}

/// Finds the groups, and notes in each row which is its. `signs` are those of the rows.
pub fn find(rows: &mut [Assessment], signs: &[&Sign], today: Day) -> Vec<Group> {
    let silent: Vec<usize> = (0..rows.len()).filter(|&at| rows[at].state == State::Silent).collect();
    let is_recent = |row: &Assessment| row.alarm_on.is_some_and(|day| today - day <= RECENT);
    let recent: Vec<usize> = silent.iter().copied().filter(|&at| is_recent(&rows[at])).collect();
    let judged = rows.iter().filter(|row| row.one_in.is_some()).count();
    let mut groups = Vec::new();
    let mut join = |kind, name: &str, members: &[usize], rows: &mut [Assessment]| {
        for &at in members {
            rows[at].group = Some(groups.len());
        }
        groups.push(Group { kind, name: name.to_owned(), signs: members.len() });
    };
    if recent.len() >= LEAST && recent.len() * OF_ALL > judged {
        join(GroupKind::Province, "", &recent, rows);
        return groups;
    }
    let mut areas: BTreeMap<&str, (Vec<usize>, usize)> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate().filter(|(_, row)| row.one_in.is_some()) {
        let area = areas.entry(&signs[at].area).or_default();
        area.1 += 1;
        area.0.extend((row.state == State::Silent && is_recent(row)).then_some(at));
    }
    for (area, (recent, judged)) in areas {
        if !area.is_empty() && recent.len() >= LEAST && recent.len() * OF_AREA > judged {
            join(GroupKind::Area, area, &recent, rows);
        }
    }
    let alone: Vec<usize> = silent.into_iter().filter(|&at| rows[at].group.is_none()).collect();
    for members in connected(&alone, rows, signs) {
        let mut places: HashMap<&str, usize> = HashMap::new();
        for &at in &members {
            *places.entry(&signs[at].name).or_default() += 1;
        }
        let most = places.into_iter().max_by_key(|&(name, count)| (count, std::cmp::Reverse(name)));
        join(GroupKind::Street, most.map_or("", |(name, _)| name), &members, rows);
    }
    groups
}

/// Silent signs that are connected by steps from neighbour to neighbour, where they are enough.
fn connected(silent: &[usize], rows: &[Assessment], signs: &[&Sign]) -> Vec<Vec<usize>> {
    // By latitude, so that only those are compared which may be near; without a position last.
    let latitude = |at: usize| signs[at].position.map_or(f64::INFINITY, |(latitude, _)| latitude);
    let mut order = silent.to_vec();
    order.sort_by(|&a, &b| latitude(a).total_cmp(&latitude(b)));
    let mut roots: Vec<usize> = (0..order.len()).collect();
    let same_days = |a: usize, b: usize| {
        let (Some(one), Some(other)) = (rows[a].alarm_on, rows[b].alarm_on) else { return false };
        (one - other).abs() <= DAYS
    };
    for (i, &a) in order.iter().enumerate() {
        for (j, &b) in order.iter().enumerate().skip(i + 1) {
            // From the first without a position on there is none, and two infinities have no difference.
            if latitude(b).is_infinite() || (latitude(b) - latitude(a)) * METRES_OF_A_DEGREE > NEAR {
                break;
            }
            if same_days(a, b) && are_near(signs[a], signs[b]) {
                unite(&mut roots, i, j);
            }
        }
    }
    // Those of one place by the day of their alarm, so that each is compared with the one that is nearest.
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (i, &at) in order.iter().enumerate() {
        places.entry(&signs[at].place).or_default().push(i);
    }
    for members in places.values_mut() {
        members.sort_by_key(|&i| rows[order[i]].alarm_on);
        for two in members.windows(2).filter(|two| same_days(order[two[0]], order[two[1]])) {
            unite(&mut roots, two[0], two[1]);
        }
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (i, &at) in order.iter().enumerate() {
        groups.entry(root(&roots, i)).or_default().push(at);
    }
    groups.into_values().filter(|members| members.len() >= LEAST).collect()
}

fn root(roots: &[usize], mut at: usize) -> usize {
    while roots[at] != at {
        at = roots[at];
    }
    at
}

fn unite(roots: &mut [usize], a: usize, b: usize) {
    let (a, b) = (root(roots, a), root(roots, b));
    roots[a.max(b)] = a.min(b);
}

/// Of latitude, and of longitude at the equator.
const METRES_OF_A_DEGREE: f64 = 111_195.0;

/// Whether two signs are of one place, or within [`NEAR`] of each other.
pub fn are_near(a: &Sign, b: &Sign) -> bool {
    if a.place == b.place {
        return true;
    }
    let (Some(a), Some(b)) = (a.position, b.position) else { return false };
    let east = (a.1 - b.1) * a.0.to_radians().cos();
    (a.0 - b.0).hypot(east) * METRES_OF_A_DEGREE <= NEAR
}
