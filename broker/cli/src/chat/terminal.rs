//! The terminal itself: taken over, and given back whatever happens.

use std::io::{self, Stdout, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{
    self, DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange, Event,
};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use tokio::sync::mpsc;

/// Keys that wait to be dealt with; the terminal keeps more.
const EVENTS_MAX: usize = 256;

/// How often the reader looks whether it is still wanted.
const READ_TIMEOUT: Duration = Duration::from_millis(200);

/// The screen, ours until it is dropped.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal over. A panic gives it back before it is told.
    ///
    /// # Errors
    /// Standard output is no terminal, or does not do what is asked.
    pub(crate) fn take() -> io::Result<Self> {
        enable_raw_mode()?;
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
        let entered = execute!(
            stdout(),
            EnterAlternateScreen,
            EnableBracketedPaste,
            EnableFocusChange
        );
        let terminal = entered.and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        match terminal {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Draws the screen anew.
    pub(crate) fn draw(&mut self, draw: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(drop)
    }

    /// Makes a sound.
    pub(crate) fn ring(&mut self) -> io::Result<()> {
        use std::io::Write;
        stdout().write_all(b"\x07")?;
        stdout().flush()
    }

    /// Columns and rows.
    pub(crate) fn size(&self) -> io::Result<(u16, u16)> {
        let size = self.terminal.size()?;
        Ok((size.width, size.height))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Puts the terminal back as it was. What fails here cannot be helped.
fn give_back() {
    let _ = execute!(
        stdout(),
        DisableFocusChange,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        ratatui::crossterm::cursor::Show
    );
    let _ = disable_raw_mode();
}

/// The keyboard: a thread that reads it, until this is dropped.
pub(crate) struct Keyboard {
    events: mpsc::Receiver<io::Result<Event>>,
    wanted: Arc<AtomicBool>,
}

impl Keyboard {
    pub(crate) fn listen() -> Self {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let wanted = Arc::new(AtomicBool::new(true));
        let is_wanted = Arc::clone(&wanted);
        std::thread::spawn(move || {
            while is_wanted.load(Ordering::Relaxed) {
                let event = match event::poll(READ_TIMEOUT) {
                    Ok(false) => continue,
                    Ok(true) => event::read(),
                    Err(error) => Err(error),
                };
                let failed = event.is_err();
                if sender.blocking_send(event).is_err() || failed {
                    break;
                }
            }
        });
        Self { events, wanted }
    }

    /// The next event; `None` when the terminal is gone.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        self.events.recv().await?.ok()
    }

    /// One that waits already.
    pub(crate) fn ready(&mut self) -> Option<Event> {
        self.events.try_recv().ok()?.ok()
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
    }
}
