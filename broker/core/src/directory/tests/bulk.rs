//! Large channels cost what they must and no more.

use confab_protocol::codec::Text;
use confab_protocol::limits::DIRECTORY_CHANGES_MAX;
use confab_protocol::message::directory::DirectoryChange;
use confab_protocol::message::event::ChannelRole;
use confab_protocol::message::session::UserKind;
use confab_protocol::{ChannelId, UserId};

use super::{Directory, department, put_user, user};
use crate::directory::ChannelChangeKind;

const PEOPLE: usize = 100_000;

/// A company of 100,000 in one department: pages stay pages, one change stays
/// one small event, and a member's coming does not walk the others.
#[test]
fn a_hundred_thousand_people_fit_in_one_channel() {
    let mut directory = Directory::new();
    let id = department("all");
    let name = Text::from("All");
    directory
        .change(vec![DirectoryChange::PutDepartment { id, name }])
        .unwrap();
    let names: Vec<String> = (0..PEOPLE).map(|number| format!("u{number:06}")).collect();
    for some in names.chunks(DIRECTORY_CHANGES_MAX / 2) {
        let mut changes = Vec::new();
        for name in some {
            changes.push(put_user(name, UserKind::Internal, true));
            changes.push(DirectoryChange::AddDepartmentMember {
                department: department("all"),
                user: user(name),
            });
        }
        let reply = directory.change(changes).unwrap();
        assert_eq!(reply.channel_changes, 2);
    }
    let channel = ChannelId::department(&department("all"));
    let view = directory.view();
    for channel in [&channel, &ChannelId::general()] {
        assert_eq!(view.member_count(channel) as usize, PEOPLE);
        let after: UserId = user("u050000");
        let page = view.members(channel, Some(&after), 200);
        assert!(page.more);
        assert_eq!(page.items.len(), 200);
        assert_eq!(page.items[0], (user("u050001"), ChannelRole::Member));
    }
    directory
        .change(vec![put_user("u070000", UserKind::Internal, false)])
        .unwrap();
    for change in directory.queued() {
        let ChannelChangeKind::Members(delta) = change.what else {
            panic!("{change:?}");
        };
        assert_eq!(delta.removed, [user("u070000")]);
        assert_eq!(delta.member_count as usize, PEOPLE - 1);
    }
    assert_eq!(directory.view().role_of(&channel, &user("u070000")), None);
}
