//! The registry's tables, generation after generation. Generation `N` names its places and targets after `N` and
//! deals its signs to its places in a way of its own, so that an answer that mixes two would show.

const PLACES: usize = 40;

/// The code of a sign.
pub fn code(sign: usize) -> String {
    format!("S{sign:04}")
}

/// Both tables of a generation.
pub fn generation(n: usize, signs: usize) -> [(&'static str, String); 2] {
    let mut places = "place,name,target\n".to_owned();
    for place in 0..PLACES {
        places += &format!("g{n}-p{place},Place {place},https://example.vn/g{n}/p{place}\n");
    }
    let mut rows = "code,place,status\n".to_owned();
    for sign in 0..signs {
        rows += &format!("{},g{n}-p{},active\n", code(sign), (sign + n) % PLACES);
    }
    [("config/places.csv", places), ("config/signs.csv", rows)]
}

/// The generation that a redirect belongs to; `None` if it belongs to no single one.
pub fn generation_of(code: &str, location: &str) -> Option<usize> {
    let (n, place) = location.strip_prefix("https://example.vn/g")?.split_once("/p")?;
    let (n, place, sign): (usize, usize, usize) = (n.parse().ok()?, place.parse().ok()?, code[1..].parse().ok()?);
    (place == (sign + n) % PLACES).then_some(n)
}
