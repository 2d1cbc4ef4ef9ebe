//! Draws the dashboard. What is drawn follows from the model and the size of the terminal alone.

use std::time::Duration;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Block, Gauge, Paragraph, Row, Sparkline, Table},
};
use wire::machine::ServiceInfo;

use super::super::{report::bytes, show::health};
use super::model::{Link, Model, Node, Source, clean};

/// What the keys do.
const KEYS: &str = " q quit   ←/→ Tab 1-9 node   k kernel log   m node's log   ↑/↓ PgUp/PgDn scroll   End newest ";
/// Rows of the graphs.
const GRAPHS: u16 = 6;
/// Smallest terminal that shows anything useful.
const SMALLEST: (u16, u16) = (40, 12);

/// Draws all of it; `now` is on the clock of the samples.
pub fn draw(frame: &mut Frame<'_>, model: &Model, now: Duration) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let text = format!("The terminal is too small: {}x{} at least (q quits)", SMALLEST.0, SMALLEST.1);
        frame.render_widget(Paragraph::new(text), area);
        return;
    }
    let [tabs, head, graphs, middle, log, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(GRAPHS.min(area.height / 4)),
        Constraint::Fill(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(tab_line(model), tabs);
    frame.render_widget(Paragraph::new(KEYS).style(Style::new().add_modifier(Modifier::REVERSED)), keys);
    let Some(node) = model.current() else { return };
    frame.render_widget(head_line(node, now), head);
    draw_graphs(frame, node, graphs);
    let [services, processes] = Layout::horizontal([Constraint::Percentage(45), Constraint::Fill(1)]).areas(middle);
    frame.render_widget(service_table(node), services);
    frame.render_widget(process_table(node), processes);
    draw_log(frame, model, node, log);
}

/// A node a word, with a mark for whether it answers.
fn tab_line(model: &Model) -> Paragraph<'_> {
    let mut spans = vec![Span::from(" keelctl ").bold()];
    for (at, node) in model.nodes.iter().enumerate() {
        let (mark, colour) = match node.link {
            Link::Up => ("●", Color::Green),
            Link::Waiting => ("○", Color::Yellow),
            Link::Gone { .. } => ("✗", Color::Red),
        };
        spans.push(Span::styled(format!(" {mark} "), Style::new().fg(colour)));
        let style = if at == model.shown { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        spans.push(Span::styled(clean(&node.name), style));
    }
    Paragraph::new(Line::from(spans))
}

fn head_line(node: &Node, now: Duration) -> Paragraph<'_> {
    let gone = match &node.link {
        Link::Up => None,
        Link::Waiting => Some("waiting for the first answer".to_owned()),
        Link::Gone { since, why } => Some(format!("no answer for {} s: {}", now.saturating_sub(*since).as_secs(), clean(why))),
    };
    let known = node.sample.as_ref().map(|sample| {
        let [one, five, fifteen] = sample.load;
        format!(
            " {}   {}   {} processors   load {one:.2} {five:.2} {fifteen:.2}",
            clean(&sample.hostname),
            clean(&sample.version),
            sample.processors
        )
    });
    let mut spans = vec![Span::from(known.unwrap_or_default())];
    if let Some(gone) = gone {
        spans.insert(0, Span::styled(format!(" {gone} "), Style::new().fg(Color::White).bg(Color::Red)));
    }
    Paragraph::new(Line::from(spans))
}

fn draw_graphs(frame: &mut Frame<'_>, node: &Node, area: Rect) {
    let [cpu, memory, network, disk] = Layout::horizontal([Constraint::Fill(1); 4]).areas(area);
    let width = usize::from(area.width / 4);
    let shown = node.rates.unwrap_or_default();
    let per_second = |value: f64| format!("{}/s", bytes(value as u64));
    let graph = |title: String, data: &[u64], highest: Option<u64>, colour| {
        let line = Sparkline::default().block(Block::bordered().title(title)).data(data).style(Style::new().fg(colour));
        match highest {
            Some(highest) => line.max(highest),
            None => line,
        }
    };
    frame.render_widget(graph(format!("CPU {:.0}%", shown.cpu * 100.0), &node.cpu.last(width), Some(100), Color::Cyan), cpu);
    let (total, _) = node.sample.as_ref().map(|sample| sample.memory).unwrap_or_default();
    let used = node.sample.as_ref().map_or(0.0, super::model::Sample::memory_used).clamp(0.0, 1.0);
    let gauge = Gauge::default()
        .block(Block::bordered().title(format!("Memory {}", bytes(total))))
        .gauge_style(Style::new().fg(Color::Magenta))
        .ratio(used)
        .label(format!("{:.0}%", used * 100.0));
    frame.render_widget(gauge, memory);
    let title = format!("Net ↓{} ↑{}", per_second(shown.network.0), per_second(shown.network.1));
    frame.render_widget(graph(title, &node.network.last(width), None, Color::Green), network);
    let title = format!("Disk r {} w {}", per_second(shown.disk.0), per_second(shown.disk.1));
    frame.render_widget(graph(title, &node.disk.last(width), None, Color::Yellow), disk);
}

fn service_table(node: &Node) -> Table<'_> {
    let services = node.sample.as_ref().map(|sample| sample.services.as_slice()).unwrap_or_default();
    let row = |service: &ServiceInfo| {
        let health = health(service);
        let colour = match (health, service.state.as_str()) {
            ("Fail", _) | (_, "Failed") => Color::Red,
            ("OK", _) => Color::Green,
            _ => Color::Yellow,
        };
        Row::new([clean(&service.id), clean(&service.state), health.to_owned()]).style(Style::new().fg(colour))
    };
    Table::new(services.iter().map(row), [Constraint::Fill(1), Constraint::Length(10), Constraint::Length(4)])
        .header(Row::new(["SERVICE", "STATE", "OK?"]).bold())
        .block(Block::bordered().title(format!("Services ({})", services.len())))
}

fn process_table(node: &Node) -> Table<'_> {
    let processes = node.busiest();
    let count = processes.len();
    let rows = processes.into_iter().take(100).map(|(part, process)| {
        let command = [&process.args, &process.executable, &process.command].into_iter().find(|text| !text.is_empty());
        Row::new([
            process.pid.to_string(),
            format!("{:.1}", part * 100.0),
            bytes(process.resident_memory),
            clean(command.map_or("", String::as_str)),
        ])
    });
    Table::new(rows, [Constraint::Length(7), Constraint::Length(6), Constraint::Length(9), Constraint::Fill(1)])
        .header(Row::new(["PID", "CPU%", "MEMORY", "COMMAND"]).bold())
        .block(Block::bordered().title(format!("Processes ({count})")))
}

fn draw_log(frame: &mut Frame<'_>, model: &Model, node: &Node, area: Rect) {
    let height = usize::from(area.height.saturating_sub(2));
    let scroll = model.scroll.min(node.log.len().saturating_sub(height));
    let last = node.log.len().saturating_sub(scroll);
    let lines: Vec<Line<'_>> = node.log.range(last.saturating_sub(height)..last).map(|line| Line::from(line.as_str())).collect();
    let name = match model.source {
        Source::Kernel => "Kernel log",
        Source::Machined => "Log of machined",
    };
    let title = if scroll > 0 { format!("{name} ({scroll} lines below)") } else { name.to_owned() };
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), area);
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};
    use wire::machine::{ProcessInfo, ServiceHealth};

    use super::super::model::{Key, News, Sample};
    use super::*;

    /// The screen as text, a line a row.
    fn screen(model: &Model, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("terminal");
        terminal.draw(|frame| draw(frame, model, Duration::from_secs(20))).expect("drawn");
        let buffer = terminal.backend().buffer();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..height).map(row).collect::<Vec<_>>().join("\n")
    }

    fn sample(at: u64) -> News {
        let service = |id: &str, state: &str, healthy| ServiceInfo {
            id: id.into(),
            state: state.into(),
            health: Some(ServiceHealth { healthy, ..ServiceHealth::default() }),
            ..ServiceInfo::default()
        };
        let process = ProcessInfo {
            pid: 42,
            cpu_time: at as f64 / 4.0,
            resident_memory: 3 << 20,
            args: "/sbin/apid\u{1b}[2J".into(),
            ..ProcessInfo::default()
        };
        News::Sample(Box::new(Sample {
            at: Duration::from_secs(at),
            hostname: "node-one".into(),
            version: "v1.14.0+keelson.0.1.0".into(),
            load: [0.5, 0.25, 0.1],
            cpu: (at as f64, at as f64 * 2.0),
            processors: 2,
            memory: (1 << 30, 1 << 29),
            network: (at * 1024, at * 2048),
            disk: (at * 1024, 0),
            processes: vec![process],
            services: vec![service("apid", "Running", true), service("etcd", "Failed", false)],
        }))
    }

    fn model() -> Model {
        let mut model = Model::new(["10.0.0.1", "10.0.0.2"].map(str::to_owned));
        model.nodes[0].take(sample(8));
        model.nodes[0].take(sample(10));
        model.nodes[0].take(News::Log((0..50).map(|number| format!("line {number}")).collect()));
        model.nodes[1].take(News::Failed { at: Duration::from_secs(5), why: "Unavailable: gone".into() });
        model
    }

    #[test]
    fn a_node_at_work() {
        let text = screen(&model(), 120, 30);
        for wanted in [
            "● 10.0.0.1",
            "✗ 10.0.0.2",
            "node-one",
            "v1.14.0+keelson",
            "2 processors",
            "load 0.50 0.25 0.10",
            "CPU 50%",
            "Memory 1 GiB",
            "50%",
            "Net ↓1 KiB/s ↑2 KiB/s",
            "Disk r 1 KiB/s w 0 B/s",
            "apid",
            "Running",
            "OK",
            "etcd",
            "Fail",
            "Services (2)",
            "42",
            "25.0",
            "3 MiB",
            "/sbin/apid [2J",
            "line 49",
            "q quit",
        ] {
            assert!(text.contains(wanted), "{wanted:?} is not on the screen:\n{text}");
        }
        assert!(!text.contains('\u{1b}') && !text.contains("line 3\n"));
    }

    #[test]
    fn a_node_that_is_gone_says_why_and_the_log_scrolls() {
        let mut model = model();
        model.key(Key::Next);
        let text = screen(&model, 100, 24);
        assert!(text.contains("no answer for 15 s: Unavailable: gone"), "{text}");
        model.key(Key::Previous);
        model.key(Key::Up);
        let text = screen(&model, 100, 24);
        assert!(text.contains("line 44") && !text.contains("line 45") && text.contains("(5 lines below)"), "{text}");
        // What it knew is shown while it is away.
        model.nodes[0].take(News::Failed { at: Duration::from_secs(20), why: "gone".into() });
        let text = screen(&model, 100, 24);
        assert!(text.contains("no answer for 0 s") && text.contains("apid"), "{text}");
    }

    #[test]
    fn every_size_is_drawn() {
        let model = model();
        for width in [1, 10, 39, 40, 41, 80, 200] {
            for height in [1, 5, 11, 12, 13, 24, 60] {
                screen(&model, width, height);
                screen(&Model::default(), width, height);
            }
        }
        assert!(screen(&model, 39, 12).contains("too small"));
    }
}
