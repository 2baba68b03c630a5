//! Which part of the screen is for what.

use ratatui::layout::Rect;

/// The smallest screen that everything fits on.
pub(crate) const SMALLEST: (u16, u16) = (60, 15);

/// Most rows of what is being written.
const INPUT_ROWS_MAX: u16 = 6;

/// The parts of the screen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Areas {
    pub(crate) list: Rect,
    /// Between the list and the rest.
    pub(crate) divider: Rect,
    pub(crate) header: Rect,
    pub(crate) messages: Rect,
    /// A rule that says who types.
    pub(crate) rule: Rect,
    pub(crate) input: Rect,
    pub(crate) status: Rect,
}

impl Areas {
    /// Divides a screen; `input_rows` is what the input would like to have.
    pub(crate) fn of(width: u16, height: u16, input_rows: usize) -> Self {
        let list_width = match width {
            0..50 => 0,
            50..80 => 20,
            80..110 => 26,
            _ => 32,
        };
        let divider_width = u16::from(list_width > 0);
        let left = list_width + divider_width;
        let right_width = width.saturating_sub(left);
        let status_height = u16::from(height > 0);
        let body = height.saturating_sub(status_height);
        let header_height = u16::from(body > 3);
        let rule_height = u16::from(body > 2);
        let for_input = body.saturating_sub(header_height + rule_height);
        let wanted = u16::try_from(input_rows).unwrap_or(u16::MAX);
        let input_height = wanted
            .clamp(1, INPUT_ROWS_MAX)
            .min((for_input / 2).max(1))
            .min(for_input);
        let messages_height = for_input - input_height;
        let right = |y, height| Rect::new(left, y, right_width, height);
        let rule_y = header_height + messages_height;
        Self {
            list: Rect::new(0, 0, list_width, body),
            divider: Rect::new(list_width, 0, divider_width, body),
            header: right(0, header_height),
            messages: right(header_height, messages_height),
            rule: right(rule_y, rule_height),
            input: right(rule_y + rule_height, input_height),
            status: Rect::new(0, body, width, status_height),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Areas;

    /// No size may make a part stick out, or subtract below nothing.
    #[test]
    fn every_part_lies_on_the_screen() {
        for width in [0, 1, 30, 49, 50, 60, 79, 80, 109, 110, 500] {
            for height in [0, 1, 2, 3, 4, 5, 15, 24, 200] {
                for input_rows in [0, 1, 3, 1_000] {
                    let areas = Areas::of(width, height, input_rows);
                    let parts = [
                        areas.list,
                        areas.divider,
                        areas.header,
                        areas.messages,
                        areas.rule,
                        areas.input,
                        areas.status,
                    ];
                    for part in parts {
                        assert!(part.right() <= width && part.bottom() <= height);
                    }
                    assert_eq!(areas.input.bottom(), areas.status.top());
                }
            }
        }
    }

    #[test]
    fn the_smallest_screen_has_room_for_messages() {
        let areas = Areas::of(60, 15, 1);
        assert!(areas.messages.width >= 39 && areas.messages.height >= 10);
        let areas = Areas::of(60, 15, 10);
        assert!(areas.messages.height >= 6);
    }
}
