//! A unified diff of two texts, for dry runs.

/// Lines shown around a change.
const CONTEXT: usize = 3;
/// Above this product of line counts the changed middle is shown as replaced whole.
const MOST_CELLS: usize = 4_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Same,
    Old,
    New,
}

/// The hunks of a unified diff; empty when the texts have the same lines.
#[must_use]
pub fn unified(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let lines = edit(&old, &new);
    let mut out = String::new();
    let changed: Vec<usize> = lines.iter().enumerate().filter(|(_, line)| line.0 != Kind::Same).map(|(at, _)| at).collect();
    let mut hunks: Vec<(usize, usize)> = Vec::new();
    for at in changed {
        let (start, end) = (at.saturating_sub(CONTEXT), (at + CONTEXT + 1).min(lines.len()));
        match hunks.last_mut() {
            Some(last) if start <= last.1 => last.1 = end,
            _ => hunks.push((start, end)),
        }
    }
    for (start, end) in hunks {
        let count = |range: &[(Kind, &str)], not: Kind| range.iter().filter(|line| line.0 != not).count();
        let (before, hunk) = (lines.get(..start).unwrap_or_default(), lines.get(start..end).unwrap_or_default());
        let range = |not: Kind| {
            let (first, length) = (count(before, not), count(hunk, not));
            format!("{},{length}", if length == 0 { first } else { first + 1 })
        };
        out.push_str(&format!("@@ -{} +{} @@\n", range(Kind::New), range(Kind::Old)));
        for (kind, text) in hunk {
            out.push(match kind {
                Kind::Same => ' ',
                Kind::Old => '-',
                Kind::New => '+',
            });
            out.push_str(text);
            out.push('\n');
        }
    }
    out
}

/// All lines of both texts in the order of a diff: common head and tail, longest common subsequence between.
fn edit<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(Kind, &'a str)> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old_middle, old_tail) = old_rest.split_at(old_rest.len().saturating_sub(tail));
    let (new_middle, _) = new_rest.split_at(new_rest.len().saturating_sub(tail));
    let same = |lines: &[&'a str]| lines.iter().map(|line| (Kind::Same, *line)).collect::<Vec<_>>();
    let mut lines = same(old.get(..head).unwrap_or_default());
    lines.extend(middle(old_middle, new_middle));
    lines.extend(same(old_tail));
    lines
}

fn middle<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(Kind, &'a str)> {
    let width = new.len() + 1;
    let mut lines = Vec::new();
    // Length of the longest common subsequence of the tails that begin at (row, column); empty when too large.
    let mut table = if old.len().saturating_mul(new.len()) <= MOST_CELLS { vec![0_u32; (old.len() + 1) * width] } else { Vec::new() };
    let at = |table: &[u32], row: usize, column: usize| table.get(row * width + column).copied().unwrap_or(0);
    if !table.is_empty() {
        for (row, a) in old.iter().enumerate().rev() {
            for (column, b) in new.iter().enumerate().rev() {
                let length =
                    if a == b { at(&table, row + 1, column + 1) + 1 } else { at(&table, row + 1, column).max(at(&table, row, column + 1)) };
                if let Some(cell) = table.get_mut(row * width + column) {
                    *cell = length;
                }
            }
        }
    }
    let (mut row, mut column) = (0, 0);
    loop {
        match (old.get(row), new.get(column)) {
            (Some(a), Some(b)) if a == b && !table.is_empty() => {
                lines.push((Kind::Same, *a));
                row += 1;
                column += 1;
            }
            (Some(a), None) => {
                lines.push((Kind::Old, *a));
                row += 1;
            }
            (Some(a), Some(_)) if at(&table, row + 1, column) >= at(&table, row, column + 1) => {
                lines.push((Kind::Old, *a));
                row += 1;
            }
            (_, Some(b)) => {
                lines.push((Kind::New, *b));
                column += 1;
            }
            (None, None) => return lines,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(old: &str, new: &str, wanted: &str) {
        assert_eq!(unified(old, new), wanted);
    }

    #[test]
    fn hunks() {
        check("a\nb\n", "a\nb\n", "");
        check("", "a\n", "@@ -0,0 +1,1 @@\n+a\n");
        check("a\nb\nc\n", "a\nx\nc\n", "@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n");
        check("1\n2\n3\n4\n5\n6\n", "1\n2\n3\n4\n5\n6\n7\n", "@@ -4,3 +4,4 @@\n 4\n 5\n 6\n+7\n");
        check(
            "x\n1\n2\n3\n4\n5\n6\n7\n8\ny\n",
            "1\n2\n3\n4\n5\n6\n7\n8\nz\n",
            "@@ -1,4 +1,3 @@\n-x\n 1\n 2\n 3\n@@ -7,4 +6,4 @@\n 6\n 7\n 8\n-y\n+z\n",
        );
    }

    proptest! {
        #[test]
        fn both_texts_can_be_read_off(old in "([ab]\n){0,12}", new in "([abc]\n){0,12}") {
            let (a, b): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
            let lines = edit(&a, &b);
            let side = |not: Kind| lines.iter().filter(|line| line.0 != not).map(|line| line.1).collect::<Vec<_>>();
            prop_assert_eq!(side(Kind::New), a);
            prop_assert_eq!(side(Kind::Old), b);
        }
    }
}
