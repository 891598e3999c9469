//! The conversation in docs/PROTOCOL.md, held by two machines; and the exchange in
//! docs/PAIRING.md.

use turnchat::internals::{
    Conversation, Frame, HeardWhen, Output, PairFrame, PairOrder, PairStep, Role,
};

use super::read;
use super::readme::block;

struct Side {
    machine: Conversation,
    to_send: Vec<Frame>,
    is_over: bool,
}

impl Side {
    fn new(role: Role, hello: &Frame) -> Self {
        let Frame::Hello { conversation, .. } = hello else {
            panic!("it begins with {hello:?}");
        };
        Self {
            machine: Conversation::new(role, *conversation, HeardWhen::Stored),
            to_send: Vec::new(),
            is_over: false,
        }
    }

    /// Says this frame, of its own accord or as its user's command.
    fn send(&mut self, frame: &Frame) {
        self.settle();
        if self.to_send.is_empty() {
            match frame {
                Frame::Say { text, .. } => self.machine.say(text.clone()).unwrap(),
                Frame::Quit {} => self.machine.quit(),
                _ => {}
            }
            self.settle();
        }
        assert!(
            !self.to_send.is_empty(),
            "nothing to send, and shown is {frame:?}"
        );
        assert_eq!(self.to_send.remove(0), *frame);
    }

    fn receive(&mut self, frame: &Frame) {
        match frame {
            Frame::Hello { heard, .. } => self.machine.accept(*heard).unwrap(),
            other => self.machine.receive(other.clone()).unwrap(),
        }
    }

    fn settle(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Store(_) => self.machine.stored(),
                Output::Send(frame) => self.to_send.push(frame),
                Output::Ended(_) => self.is_over = true,
                _ => {}
            }
        }
    }
}

#[test]
fn the_conversation_that_is_shown_is_the_one_that_machines_hold() {
    let shown = block(&read("docs/PROTOCOL.md"), "text frames");
    let lines: Vec<_> = shown.lines().map(|line| line.split_at(2)).collect();
    let frame = |line: &str| Frame::from_line(line.as_bytes()).unwrap();
    let hello = frame(lines[0].1);
    let mut client = Side::new(Role::Client, &hello);
    let mut server = Side::new(Role::Server, &hello);
    client.machine.connect();
    for (from, line) in lines {
        let frame = frame(line);
        assert_eq!(frame.to_line(), format!("{line}\n").into_bytes());
        let (sender, receiver) = match from {
            "C " => (&mut client, &mut server),
            "S " => (&mut server, &mut client),
            other => panic!("{other} is nobody"),
        };
        sender.send(&frame);
        receiver.receive(&frame);
    }
    for side in [&mut client, &mut server] {
        side.settle();
        assert!(side.is_over && side.to_send.is_empty());
    }
}

#[test]
fn the_exchange_that_is_shown_is_one_and_that_of_the_test_vector() {
    let page = read("docs/PAIRING.md");
    let (mut order, mut values) = (PairOrder::new(), Vec::new());
    for line in block(&page, "text frames").lines() {
        let (by, line) = line.split_at(2);
        let frame = PairFrame::from_line(line.as_bytes()).unwrap();
        assert_eq!(frame.to_line(), format!("{line}\n").into_bytes());
        let by = match by {
            "C " => Role::Client,
            "S " => Role::Server,
            other => panic!("{other} is nobody"),
        };
        order.take(by, &frame).unwrap();
        values.push(match frame {
            PairFrame::Pair(PairStep::Spake2(message)) => message.to_vec(),
            PairFrame::Pair(PairStep::Confirm(confirmation)) => confirmation.to_vec(),
            other => panic!("{other:?}"),
        });
    }
    assert!(order.is_over());
    let vector = block(&page, "text vector");
    let names = [
        "client spake2",
        "server spake2",
        "client confirm",
        "server confirm",
    ];
    for (name, value) in names.into_iter().zip(values) {
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        let is_there = |line: &str| {
            line.split_once(" = ")
                .is_some_and(|it| it.0.trim() == name && it.1 == hex)
        };
        assert!(vector.lines().any(is_there), "{name}");
    }
}
