//! `dashboard`: the nodes at work, on a terminal.
//!
//! [`collect`] asks, [`model`] knows, [`view`] draws; here they meet the terminal, which is as it was before however
//! this ends.

mod collect;
mod model;
mod view;

use std::{io::IsTerminal as _, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, TerminalOptions, Viewport, layout::Rect};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::{JoinSet, LocalSet},
    time::Instant,
};

use super::{
    args::{self, Insecure},
    nodes::Fleet,
};
use model::{Key, Model, Source};

/// News that wait to be drawn; nodes wait while there are so many.
const QUEUE: usize = 256;
/// How long a look at the keyboard takes, at most: the end of the program waits for it.
const LOOK: Duration = Duration::from_millis(100);
/// A serial line says nothing of its size.
const UNKNOWN: Rect = Rect { x: 0, y: 0, width: 80, height: 24 };

/// What comes from the keyboard.
enum Input {
    Key(Key),
    Resized,
}

pub async fn run(fleet: &Arc<Fleet>, args: args::Dashboard) -> Result<ExitCode> {
    let every = Duration::try_from(args.update_interval).context("use --update-interval")?;
    ensure!(every >= Duration::from_millis(500), "an --update-interval below half a second would only measure itself");
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        bail!(
            "the dashboard needs a terminal; for a file or a pipe there are `keelctl services`, `keelctl memory` and `keelctl processes`, each with -o json"
        );
    }
    let nodes = fleet.nodes(&Insecure::default()).await?;
    let model = Model::new(nodes.iter().map(|node| node.name.clone()));
    let (news, from_nodes) = mpsc::channel(QUEUE);
    let (source, _) = watch::channel(Source::default());
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    let local = LocalSet::new();
    for (index, node) in nodes.into_iter().enumerate() {
        let client = node.client.ok();
        let target = || (Arc::clone(fleet), client.clone());
        let (own, sender) = (target(), news.clone());
        tasks.spawn_local_on(
            async move { collect::samples(collect::Target { fleet: &own.0, index, client: own.1, started, every }, sender).await },
            &local,
        );
        let (own, sender, source) = (target(), news.clone(), source.subscribe());
        tasks.spawn_local_on(
            async move { collect::log(collect::Target { fleet: &own.0, index, client: own.1, started, every }, source, sender).await },
            &local,
        );
    }
    drop(news);
    let (sender, keys) = mpsc::channel(16);
    let keyboard = std::thread::spawn(move || read_keys(&sender));
    let shown = {
        let mut screen = Screen::open()?;
        local.run_until(show(&mut screen.0, model, from_nodes, keys, source, tasks, started)).await
    };
    // It ends with the channel.
    drop(keyboard.join());
    shown?;
    Ok(ExitCode::SUCCESS)
}

/// The terminal in its other mode; as it was before once this goes, by a panic as well.
struct Screen(DefaultTerminal);

impl Screen {
    fn open() -> Result<Self> {
        let viewport = match crossterm::terminal::size() {
            Ok((width, height)) if width > 0 && height > 0 => Viewport::Fullscreen,
            _ => Viewport::Fixed(UNKNOWN),
        };
        // Its hook restores the terminal before a panic is reported.
        ratatui::try_init_with_options(TerminalOptions { viewport }).map(Self).context("take the terminal")
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        drop(ratatui::try_restore());
    }
}

/// Draws until the user has seen enough.
async fn show(
    terminal: &mut DefaultTerminal,
    mut model: Model,
    mut from_nodes: mpsc::Receiver<collect::Message>,
    mut keys: mpsc::Receiver<Input>,
    source: watch::Sender<Source>,
    mut tasks: JoinSet<()>,
    started: Instant,
) -> Result<()> {
    let mut ended = signal(SignalKind::terminate()).context("wait for signals")?;
    let mut hung_up = signal(SignalKind::hangup()).context("wait for signals")?;
    loop {
        terminal.draw(|frame| view::draw(frame, &model, started.elapsed())).context("draw")?;
        tokio::select! {
            Some((index, item)) = from_nodes.recv() => {
                take(&mut model, index, item);
                // Whatever else is there comes with the same picture.
                while let Ok((index, item)) = from_nodes.try_recv() {
                    take(&mut model, index, item);
                }
            }
            input = keys.recv() => match input {
                Some(Input::Key(key)) => {
                    if !model.key(key) {
                        return Ok(());
                    }
                    source.send_if_modified(|chosen| std::mem::replace(chosen, model.source) != model.source);
                }
                Some(Input::Resized) => {}
                None => bail!("the keyboard cannot be read any more"),
            },
            // They end with their channels only: one that ends now has failed.
            Some(task) = tasks.join_next() => {
                task.context("follow a node")?;
                bail!("a node is followed no more");
            }
            _ = ended.recv() => return Ok(()),
            _ = hung_up.recv() => return Ok(()),
        }
    }
}

fn take(model: &mut Model, index: usize, item: model::News) {
    if let Some(node) = model.nodes.get_mut(index) {
        node.take(item);
    }
}

/// Reads keys until nobody wants them.
fn read_keys(to: &mpsc::Sender<Input>) {
    while !to.is_closed() {
        let input = match event::poll(LOOK) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(_) => return,
        };
        let input = match input {
            Ok(Event::Key(key)) => meaning(key).map(Input::Key),
            Ok(Event::Resize(..)) => Some(Input::Resized),
            Ok(_) => None,
            Err(_) => return,
        };
        if input.is_some_and(|input| to.blocking_send(input).is_err()) {
            return;
        }
    }
}

fn meaning(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    Some(match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Key::Quit,
        KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
        KeyCode::Tab | KeyCode::Right | KeyCode::Char('l') => Key::Next,
        KeyCode::BackTab | KeyCode::Left | KeyCode::Char('h') => Key::Previous,
        KeyCode::Char(digit @ '1'..='9') => Key::Choose(digit as usize - '1' as usize),
        KeyCode::Char('k') => Key::Log(Source::Kernel),
        KeyCode::Char('m') => Key::Log(Source::Machined),
        KeyCode::Up | KeyCode::PageUp => Key::Up,
        KeyCode::Down | KeyCode::PageDown => Key::Down,
        KeyCode::End => Key::End,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_something() {
        let check = |code, modifiers, wanted| assert_eq!(meaning(KeyEvent::new(code, modifiers)), wanted, "{code:?}");
        check(KeyCode::Char('c'), KeyModifiers::CONTROL, Some(Key::Quit));
        check(KeyCode::Char('c'), KeyModifiers::NONE, None);
        check(KeyCode::Char('q'), KeyModifiers::NONE, Some(Key::Quit));
        check(KeyCode::Char('3'), KeyModifiers::NONE, Some(Key::Choose(2)));
        check(KeyCode::Char('0'), KeyModifiers::NONE, None);
        check(KeyCode::Tab, KeyModifiers::NONE, Some(Key::Next));
    }
}
