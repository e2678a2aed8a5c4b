//! The `quorate` binary: one replica of a key-value store, a demonstration, and tools around them.
mod agreements;
mod algorithms;
mod bench;
mod chaos;
mod credentials;
mod demo;
mod doors;
mod http;
mod keys;
mod limits;
mod lock;
mod logging;
mod members;
mod node;
mod quorums;
mod registers;
mod resp;
mod secret_file;
mod settings;
mod sim;
mod status;
mod trace;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use mimalloc::MiMalloc;
use std::{io, process::ExitCode};

/// Packets come and go in buffers of some 60 KiB. The system's allocator returns the memory of each to the
/// kernel, and requests it again; that cost a fifth of the processor time with messages of 1 KiB.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Reliable distributed programming: replicated services that survive the death of a minority.
#[derive(Parser, Debug)]
#[command(name = "quorate", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Runs one replica of the key-value store, until SIGTERM or SIGINT.
    Node(Box<node::Node>),
    /// Starts five replicas, kills two under load, and checks that nothing was lost.
    Demo(demo::Demo),
    /// Disturbs replicas under load, and checks that none is lost.
    Chaos(chaos::Chaos),
    /// Asks replicas for their state.
    Status(status::Status),
    /// Proposes a value to the replicas, and prints the one that was decided.
    Propose(agreements::Propose),
    /// Votes for a replica on whether all commit, and prints the outcome.
    Commit(agreements::Commit),
    /// Reads and writes the registers, the snapshot and the growing set of a running cluster.
    Registers(registers::Registers),
    /// Decides whether there are quorums for failures of processes and of channels in one direction.
    Quorums(quorums::Quorums),
    /// Runs a command while a lock is held.
    Lock(lock::Lock),
    /// Reads and writes values that a lock guards.
    Fenced(lock::Fenced),
    /// Makes and shows what processes, clients and operators are known by.
    Keys(keys::Keys),
    /// Prints who holds each seat of the cluster.
    Members(members::Members),
    /// Prints the present view, or every one as it comes.
    Views(members::Views),
    /// Makes a replica read its users, tokens and certificates anew.
    Reload(status::Reload),
    /// Disturbs a replica's network, for experiments.
    Faults(status::FaultSwitches),
    /// Draws what replicas have recorded.
    Trace(trace::Trace),
    /// Runs a stack against an adversary in the simulator, and checks its properties.
    Sim(Box<sim::Sim>),
    /// Shows what cannot be had, as runs that break exactly what is stated.
    Limits(limits::Limits),
    /// Lists the algorithms: model, bound, properties, costs.
    Algorithms(algorithms::Algorithms),
    /// Measures what the layers cost on this machine.
    Bench(bench::Bench),
    /// Prints the completions of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// The command, with empty environment variables taken as not set.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|argument| {
        let variable = argument.get_env().and_then(std::env::var_os);
        if variable.is_some_and(|value| value.is_empty()) {
            argument.env(None::<&'static str>)
        } else {
            argument
        }
    });
    command.mut_subcommands(without_empty_variables)
}

fn main() -> ExitCode {
    let matches = without_empty_variables(Cli::command()).get_matches();
    let command = Cli::from_arg_matches(&matches).map(|cli| cli.command);
    let result = match command.unwrap_or_else(|error| error.exit()) {
        Command::Node(node) => match node::run(*node) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Demo(demo) => demo.run(),
        Command::Chaos(chaos) => chaos.run(),
        Command::Status(status) => status.run(),
        Command::Propose(propose) => propose.run(),
        Command::Commit(commit) => commit.run(),
        Command::Registers(registers) => registers.run(),
        Command::Quorums(quorums) => return quorums.run(),
        Command::Lock(lock) => match lock.run() {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Fenced(fenced) => match fenced.run() {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Keys(keys) => match keys.run() {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Members(members) => members.run(),
        Command::Views(views) => views.run(),
        Command::Reload(reload) => reload.run(),
        Command::Faults(switches) => switches.run(),
        Command::Trace(trace) => trace.run(),
        Command::Sim(sim) => sim.run(),
        Command::Limits(limits) => limits.run(),
        Command::Algorithms(algorithms) => algorithms.run(),
        Command::Bench(bench) => bench.run(),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "quorate", &mut io::stdout());
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line: the error, then its causes.
            eprintln!("quorate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks all subcommands, including those of subcommands.
    fn check(command: &clap::Command) {
        for verb in command.get_subcommands() {
            check(verb);
        }
        if !command.has_subcommands() {
            return;
        }
        for argument in command.get_arguments() {
            assert!(
                argument.is_global_set(),
                "{}: `{argument}` does not work after a subcommand",
                command.get_name()
            );
        }
    }

    #[test]
    fn options_of_a_group_work_after_its_verbs() {
        let cli = Cli::command();
        cli.clone().debug_assert();
        check(&cli);
        for line in [
            "quorate faults cut 2 --admin 127.0.0.1:1",
            "quorate faults --admin 127.0.0.1:1 cut 2",
            "quorate faults heal --admin 127.0.0.1:1",
        ] {
            let parsed = Cli::try_parse_from(line.split(' ')).unwrap();
            let shown = format!("{:?}", parsed.command);
            assert!(shown.contains("admin: 127.0.0.1:1"), "{line}: {shown}");
        }
    }
}
