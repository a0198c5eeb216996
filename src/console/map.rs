//! The map of the signs, as one SVG.
//!
//! Owns the box that is shown, and how signs that would fall together are merged: the sheet is a grid of squares as
//! wide as a fingertip, and a square with several signs has one circle with their number, which leads to a box of its
//! own. So a map has at most [`SQUARES`]² marks, however many signs there are. There are no tiles and no borders.

use std::collections::BTreeMap;

use super::fields::Fields;
use crate::registry::SignRef;

/// Width and height of the sheet, in its own units.
pub(super) const SHEET: f64 = 640.0;
/// Squares of the grid in each direction.
const SQUARES: u8 = 15;
/// Metres of a degree of latitude.
const DEGREE: f64 = 111_195.0;
/// The narrowest box, in degrees: some 90 m. There signs are no longer merged by the grid, but only where they stand
/// in one spot.
const NARROWEST: f64 = 0.0008;
/// Signs that are set side by side where they stand in one spot; more of them are one circle.
const SIDE_BY_SIDE: usize = 9;

/// A box in degrees (WGS 84), as wide as it is high on the ground.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Box {
    pub west: f64,
    pub south: f64,
    pub east: f64,
    pub north: f64,
}

/// What stands at one spot of the sheet.
pub(super) struct Mark<'r> {
    /// From the left and from the top.
    pub x: f64,
    pub y: f64,
    /// One, or those that are merged.
    pub signs: Vec<SignRef<'r>>,
}

impl Box {
    /// The `box` of an address, made as wide as it is high.
    pub fn read(fields: &Fields) -> Option<Self> {
        Self::read_as_it_is(fields).map(Self::squared)
    }

    /// The `box` of an address, `lon1,lat1,lon2,lat2`; `None` for anything else.
    pub fn read_as_it_is(fields: &Fields) -> Option<Self> {
        let numbers: Vec<f64> = fields.get("box").split(',').map_while(|number| number.trim().parse().ok()).collect();
        let [west, south, east, north] = numbers[..] else { return None };
        let is_box = numbers.iter().all(|number| number.is_finite())
            && (-180.0..=180.0).contains(&west)
            && (-180.0..=180.0).contains(&east)
            && (-80.0..=80.0).contains(&south)
            && (-80.0..=80.0).contains(&north)
            && west <= east
            && south <= north;
        is_box.then_some(Self { west, south, east, north })
    }

    /// Around all positions, with a margin; `None` without any.
    pub fn around(positions: impl Iterator<Item = (f64, f64)>) -> Option<Self> {
        let all = Self::holding(positions)?;
        let margin = (all.north - all.south).max(all.east - all.west) * 0.06 + NARROWEST / 20.0;
        Some(all.wider(margin).squared())
    }

    /// All positions and nothing beside: a margin of 0.1 m, which rounding takes in an address. `None` without any.
    pub fn close_around(positions: impl Iterator<Item = (f64, f64)>) -> Option<Self> {
        Some(Self::holding(positions)?.wider(0.000_001))
    }

    fn holding(positions: impl Iterator<Item = (f64, f64)>) -> Option<Self> {
        let one = |(lat, lon): (f64, f64)| Self { west: lon, south: lat, east: lon, north: lat };
        positions.map(one).reduce(|a, b| Self {
            west: a.west.min(b.west),
            south: a.south.min(b.south),
            east: a.east.max(b.east),
            north: a.north.max(b.north),
        })
    }

    fn wider(self, by: f64) -> Self {
        Self { west: self.west - by, south: self.south - by, east: self.east + by, north: self.north + by }
    }

    /// Whether a position lies in it.
    pub fn holds(&self, (lat, lon): (f64, f64)) -> bool {
        (self.south..=self.north).contains(&lat) && (self.west..=self.east).contains(&lon)
    }

    /// How much shorter a degree of longitude is than one of latitude, in the middle of the box.
    fn shortening(&self) -> f64 {
        f64::midpoint(self.south, self.north).to_radians().cos()
    }

    /// The same middle, and as high as wide.
    fn squared(self) -> Self {
        let short = self.shortening();
        let height = (self.north - self.south).max((self.east - self.west) * short).max(NARROWEST);
        self.resized(height)
    }

    fn resized(self, height: f64) -> Self {
        let (lat, lon) = (f64::midpoint(self.south, self.north), f64::midpoint(self.west, self.east));
        let (half, half_width) = (height / 2.0, height / 2.0 / self.shortening());
        Self { west: lon - half_width, south: lat - half, east: lon + half_width, north: lat + half }
    }

    /// Its height, in degrees.
    fn height(&self) -> f64 {
        self.north - self.south
    }

    /// Half or twice as wide and high, about the same middle.
    pub fn zoomed(self, factor: f64) -> Self {
        self.resized((self.height() * factor).clamp(NARROWEST, 90.0))
    }

    /// Moved by so many of its own widths to the east, and heights to the north.
    pub fn moved(self, east: f64, north: f64) -> Self {
        let (by_lon, by_lat) = ((self.east - self.west) * east, self.height() * north);
        Self {
            west: self.west + by_lon,
            south: self.south + by_lat,
            east: self.east + by_lon,
            north: self.north + by_lat,
        }
    }

    /// Whether it can't be zoomed into.
    pub fn is_narrowest(&self) -> bool {
        self.height() <= NARROWEST * 1.001
    }

    /// As in an address.
    pub fn text(&self) -> String {
        format!("{:.6},{:.6},{:.6},{:.6}", self.west, self.south, self.east, self.north)
    }

    /// Where a position is on the sheet; `None`: not on it.
    fn spot(&self, (lat, lon): (f64, f64)) -> Option<(f64, f64)> {
        let x = (lon - self.west) / (self.east - self.west) * SHEET;
        let y = (self.north - lat) / self.height() * SHEET;
        let on = 0.0..=SHEET;
        (on.contains(&x) && on.contains(&y)).then_some((x, y))
    }

    /// Units of the sheet for a metre.
    fn per_metre(&self) -> f64 {
        SHEET / (self.height() * DEGREE)
    }

    /// A round length in metres, 1, 2 or 5 times a power of ten, and its length on the sheet: at most a third.
    pub fn scale(&self) -> (u64, f64) {
        let per_metre = self.per_metre();
        let mut best = 1;
        let mut power = 1;
        while power <= 10_000_000 {
            for metres in [power, 2 * power, 5 * power] {
                if f64_of(metres) * per_metre <= SHEET / 3.0 {
                    best = metres;
                }
            }
            power *= 10;
        }
        (best, f64_of(best) * per_metre)
    }
}

/// Counts and metres of a map are far below 2^32.
pub(super) fn f64_of(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// The marks of the signs in a box, in the order of rows and columns of the grid.
pub(super) fn marks<'r>(signs: impl Iterator<Item = SignRef<'r>>, shown: &Box) -> Vec<Mark<'r>> {
    /// Signs of one square, and the sums of where they are.
    #[derive(Default)]
    struct Square<'r> {
        signs: Vec<SignRef<'r>>,
        x: f64,
        y: f64,
    }
    let mut squares: BTreeMap<(u8, u8), Square<'r>> = BTreeMap::new();
    for sign in signs {
        let Some((x, y)) = sign.position().and_then(|position| shown.spot(position)) else { continue };
        let square = squares.entry((number(y), number(x))).or_default();
        square.signs.push(sign);
        square.x += x;
        square.y += y;
    }
    let mut marks = Vec::new();
    for square in squares.into_values() {
        let count = f64_of(square.signs.len() as u64);
        let (x, y) = (square.x / count, square.y / count);
        if square.signs.len() > 1 && square.signs.len() <= SIDE_BY_SIDE && shown.is_narrowest() {
            // A ring, as wide as its marks need.
            let radius = (count * 7.0).max(14.0);
            for (at, sign) in square.signs.into_iter().enumerate() {
                let angle = std::f64::consts::TAU * f64_of(at as u64) / count;
                let (x, y) = (x + radius * angle.cos(), y + radius * angle.sin());
                marks.push(Mark { x, y, signs: vec![sign] });
            }
        } else {
            marks.push(Mark { x, y, signs: square.signs });
        }
    }
    marks
}

/// The number of the square that a place on the sheet is in.
fn number(at: f64) -> u8 {
    let square = SHEET / f64::from(SQUARES);
    (0..SQUARES - 1).find(|number| at < f64::from(number + 1) * square).unwrap_or(SQUARES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::trial;
    use crate::registry::Registry;
    use crate::source::Sources;

    /// So many signs in rows of 200, 0.001 degrees from each other.
    pub(in crate::console) fn many(count: usize) -> Registry {
        let mut signs = String::from("code,place,status,lat,lon\n");
        for at in 0..count {
            let [row, column] = [at / 200, at % 200].map(|number| f64_of(number as u64));
            let (lat, lon) = (21.0 + row * 0.001, 106.0 + column * 0.001);
            signs.push_str(&format!("T{at:07},p1,active,{lat:.6},{lon:.6}\n"));
        }
        let places = "place,name,target\np1,Một,https://langson.gov.vn/1\n".into();
        trial::registry(&Sources { places, signs: signs.into(), overrides: Vec::new() })
    }

    fn read(text: &str) -> Option<Box> {
        Box::read(&Fields { list: vec![("box".to_owned(), text.to_owned())], upload: None })
    }

    #[test]
    fn a_box_is_what_the_address_says() {
        let shown = read("106.7,21.8,106.8,21.9").expect("a box");
        assert_eq!(read(&shown.text()).map(|again| again.text()), Some(shown.text()));
        // As wide as it is high on the ground.
        let width = (shown.east - shown.west) * shown.shortening();
        assert!((width - shown.height()).abs() < 1e-9, "{shown:?}");
        for wrong in
            ["", "1,2,3", "a,b,c,d", "106.8,21.8,106.7,21.9", "NaN,0,1,1", "0,0,inf,1", "0,0,1,1,1", "0,-90,1,90"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_close_box_has_its_positions_also_from_an_address() {
        let positions = [(21.847_444_44, 106.758_433_33), (21.847_444_46, 106.758_433_39)];
        let close = Box::close_around(positions.into_iter()).expect("a box");
        let fields = Fields { list: vec![("box".to_owned(), close.text())], upload: None };
        let close = Box::read_as_it_is(&fields).expect("a box");
        assert!(positions.into_iter().all(|position| close.holds(position)), "{close:?}");
        assert!(!close.holds((21.847_45, 106.758_433_33)) && !close.holds((21.847_444_44, 106.758_44)), "{close:?}");
    }

    #[test]
    fn zooming_and_moving_keep_the_form() {
        let shown = read("106.7,21.8,106.8,21.9").expect("a box");
        assert!((shown.zoomed(0.5).height() * 2.0 - shown.height()).abs() < 1e-9);
        assert!((shown.moved(0.0, 0.5).south - f64::midpoint(shown.south, shown.north)).abs() < 1e-9);
        let mut narrow = shown;
        (0..40).for_each(|_| narrow = narrow.zoomed(0.5));
        assert!(narrow.is_narrowest());
    }

    #[test]
    fn every_sign_is_in_one_mark() {
        for count in [1, 2, 500, 20_000] {
            let registry = many(count);
            let shown = Box::around(registry.signs().filter_map(SignRef::position)).expect("positions");
            let marks = marks(registry.signs(), &shown);
            assert_eq!(marks.iter().map(|mark| mark.signs.len()).sum::<usize>(), count);
            assert!(marks.len() <= usize::from(SQUARES) * usize::from(SQUARES), "{}", marks.len());
        }
    }

    #[test]
    fn what_is_merged_comes_apart_by_zooming() {
        let registry = many(20_000);
        let mut shown = Box::around(registry.signs().filter_map(SignRef::position)).expect("positions");
        for _ in 0..40 {
            let marks = marks(registry.signs(), &shown);
            let Some(merged) = marks.iter().find(|mark| mark.signs.len() > 1) else { return };
            shown = Box::around(merged.signs.iter().filter_map(|sign| sign.position())).expect("positions");
        }
        panic!("still merged at {shown:?}");
    }

    #[test]
    fn the_scale_is_a_round_length_that_fits() {
        let shown = read("106.7,21.8,106.8,21.9").expect("a box");
        let (metres, length) = shown.scale();
        assert_eq!(metres, 2_000);
        assert!(length > SHEET / 9.0 && length <= SHEET / 3.0, "{length}");
    }
}
