//! The inputs worth going on from: for each thing that code was seen to do, the shortest input that makes it do it.

use std::collections::HashMap;

use super::random::Random;

/// What code did: a branch, and how often, in steps of about twice as much. A loop that turns twice is another thing than one that
/// turns a hundred times; whether it is 100 or 101 times is not.
pub type Feature = usize;

/// The features in what [`super::coverage::of`] gives.
pub fn features(moved: &[(usize, u8)]) -> Vec<Feature> {
    let step = |count: u8| match count {
        0..=3 => usize::from(count).saturating_sub(1),
        4..=7 => 3,
        8..=15 => 4,
        16..=31 => 5,
        32..=127 => 6,
        128..=255 => 7,
    };
    moved.iter().map(|(counter, count)| counter * 8 + step(*count)).collect()
}

/// What a line of the corpus takes beside the input, bytes; short inputs are not worth everything.
const LINE: usize = 16;

#[derive(Debug)]
struct Entry {
    bytes: Vec<u8>,
    /// Features of which it is the shortest input; with none it is of no more use.
    owned: usize,
}

/// The inputs.
#[derive(Debug, Default)]
pub struct Pool {
    entries: Vec<Entry>,
    owners: HashMap<Feature, usize>,
}

impl Pool {
    /// Takes an input in when it has a feature that no other has, or is shorter than the one that has it. Whether a feature is new.
    pub fn offer(&mut self, bytes: &[u8], features: &[Feature]) -> bool {
        let (mut new, mut owned) = (false, 0);
        let own = self.entries.len();
        for feature in features {
            match self.owners.get_mut(feature) {
                None => new = true,
                Some(owner) if *owner != own && self.entries[*owner].bytes.len() > bytes.len() => self.entries[*owner].owned -= 1,
                Some(_) => continue,
            }
            self.owners.insert(*feature, own);
            owned += 1;
        }
        if owned > 0 {
            self.entries.push(Entry { bytes: bytes.to_vec(), owned });
        }
        new
    }

    /// How many features and how many inputs of use there are.
    pub fn size(&self) -> (usize, usize) {
        (self.owners.len(), self.useful().count())
    }

    /// The inputs of use, those first that do most for their length: where there is no room for all, the first are kept.
    pub fn inputs(&self) -> Vec<&[u8]> {
        let mut inputs: Vec<&Entry> = self.entries.iter().filter(|entry| entry.owned > 0).collect();
        let worth = |entry: &Entry| (entry.owned << 16) / (entry.bytes.len() + LINE);
        inputs.sort_by_key(|entry| (std::cmp::Reverse(worth(entry)), &entry.bytes));
        inputs.into_iter().map(|entry| entry.bytes.as_slice()).collect()
    }

    fn useful(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().filter(|entry| entry.owned > 0).map(|entry| entry.bytes.as_slice())
    }

    /// One to go on from; late ones, which found something new, more often than early ones.
    pub fn pick(&self, random: &mut Random) -> &[u8] {
        for _ in 0..64 {
            let at = random.below(self.entries.len()).max(random.below(self.entries.len()));
            if let Some(entry) = self.entries.get(at).filter(|entry| entry.owned > 0) {
                return &entry.bytes;
            }
        }
        self.useful().next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_input_of_each_feature_stays() {
        let mut pool = Pool::default();
        assert!(pool.offer(b"long", &[1, 2]));
        assert!(!pool.offer(b"longer", &[1, 2]), "nothing new");
        assert_eq!((pool.size(), pool.inputs()), ((2, 1), vec![&b"long"[..]]));
        assert!(!pool.offer(b"l", &[1]), "shorter, not new");
        assert_eq!(pool.inputs(), [&b"l"[..], b"long"]);
        assert!(pool.offer(b"much", &[10, 11, 12]));
        assert_eq!(pool.inputs(), [&b"much"[..], b"l", b"long"], "what does most is first");
        assert!(pool.offer(b"lo", &[2, 3]));
        assert_eq!(pool.inputs(), [&b"much"[..], b"lo", b"l"], "the first has nothing of its own any more");
        let mut random = Random::new(1);
        assert!((0..100).all(|_| pool.pick(&mut random) != b"long"));
        assert_eq!(Pool::default().pick(&mut random), b"");
    }

    #[test]
    fn counts_are_told_apart_by_powers_of_two() {
        let of = |count| features(&[(10, count)])[0] - 80;
        assert_eq!([1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 127, 128, 255].map(of), [0, 1, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]);
    }
}
