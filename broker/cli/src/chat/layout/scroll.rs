//! Which rows of a long conversation are on the screen.
//!
//! The place is held by a message, not by a number of rows, so what one reads
//! does not move when something is added at either end. Only the rows that are
//! needed are made.

use confab_protocol::Offset;

use super::rows::{Row, Scene};

/// Where the lower edge of the screen is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Scroll {
    /// At the newest; it stays there when more comes.
    #[default]
    Latest,
    /// At one of the rows of an entry.
    At {
        /// The entry.
        offset: Offset,
        /// Which of its rows is the last on the screen.
        row: usize,
    },
}

/// A row: of which block, and which of its rows.
type Place = (usize, usize);

impl Scene<'_> {
    fn last(&self) -> Option<Place> {
        let block = self.blocks().checked_sub(1)?;
        Some((block, self.block(block).len().saturating_sub(1)))
    }

    fn bottom(&self, scroll: Scroll) -> Option<Place> {
        match scroll {
            Scroll::Latest => self.last(),
            Scroll::At { offset, row } => {
                // The entry may be gone: then what came after it.
                let block = self.block_at_or_after(offset)?;
                Some((block, row.min(self.block(block).len().saturating_sub(1))))
            }
        }
    }

    fn scroll_at(&self, (block, row): Place) -> Scroll {
        match self.offset(block) {
            Some(offset) if self.last() != Some((block, row)) => Scroll::At { offset, row },
            _ => Scroll::Latest,
        }
    }

    /// So many rows further up; less where there are no more.
    fn above(&self, (mut block, mut row): Place, mut rows: usize) -> Place {
        while rows > row {
            let Some(previous) = block.checked_sub(1) else {
                return (block, 0);
            };
            rows -= row + 1;
            block = previous;
            row = self.block(block).len().saturating_sub(1);
        }
        (block, row - rows)
    }

    /// So many rows further down; less where there are no more.
    fn below(&self, (mut block, mut row): Place, mut rows: usize) -> Place {
        loop {
            let last_row = self.block(block).len().saturating_sub(1);
            if row + rows <= last_row {
                return (block, row + rows);
            }
            if block + 1 >= self.blocks() {
                return (block, last_row);
            }
            rows -= last_row - row + 1;
            block += 1;
            row = 0;
        }
    }

    /// The rows on a screen of a height, the last at the lower edge.
    pub(crate) fn window(&self, scroll: Scroll, height: usize) -> Vec<Row> {
        let Some((mut block, row)) = self.bottom(scroll) else {
            return Vec::new();
        };
        let mut rows = self.block(block);
        rows.truncate(row + 1);
        rows.reverse();
        while rows.len() < height && block > 0 {
            block -= 1;
            rows.extend(self.block(block).into_iter().rev());
        }
        rows.truncate(height);
        rows.reverse();
        rows
    }

    /// Scrolls up. Answers whether the first row of all is on the screen.
    pub(crate) fn up(&self, scroll: Scroll, rows: usize, height: usize) -> (Scroll, bool) {
        let Some(bottom) = self.bottom(scroll) else {
            return (Scroll::Latest, true);
        };
        let moved = self.above(bottom, rows);
        // The screen stays full.
        let lowest = self.below((0, 0), height.saturating_sub(1));
        let at_top = moved <= lowest;
        (self.scroll_at(moved.max(lowest.min(bottom))), at_top)
    }

    /// Scrolls down.
    pub(crate) fn down(&self, scroll: Scroll, rows: usize) -> Scroll {
        match self.bottom(scroll) {
            Some(bottom) => self.scroll_at(self.below(bottom, rows)),
            None => Scroll::Latest,
        }
    }

    /// Scrolls as little as needed for an entry to be on the screen.
    pub(crate) fn reveal(&self, scroll: Scroll, offset: Offset, height: usize) -> Scroll {
        let (Some(bottom), Some(block)) = (self.bottom(scroll), self.block_at_or_after(offset))
        else {
            return scroll;
        };
        let end = (block, self.block(block).len().saturating_sub(1));
        if end > bottom {
            return self.scroll_at(end);
        }
        let top = self.above(bottom, height.saturating_sub(1));
        if (block, 0) < top {
            return self.scroll_at(self.below((block, 0), height.saturating_sub(1)));
        }
        scroll
    }
}
