//! Commands without a subject of their own: configuration, completions, manual.

use super::{Cli, Context};
use crate::{
    failure::{IoContext, Outcome},
    output,
};
use clap::{Args, CommandFactory, Subcommand};
use std::path::PathBuf;

/// `bmm config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every key with the value in force, as TOML that config.toml takes
    Show,
}

/// `bmm completions`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bmm completions bash > ~/.local/share/bash-completion/completions/bmm")]
pub struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

/// `bmm man`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bmm man | man -l -\n  bmm man ~/.local/share/man/man1")]
pub struct Man {
    /// Folder for the pages of all commands [default: print bmm.1]
    dir: Option<PathBuf>,
}

/// Answers `bmm config`.
pub fn config(context: &Context, command: &ConfigCommand) {
    match command {
        ConfigCommand::Show => {
            let text = toml::to_string(&context.config).expect("the configuration is plain values");
            output::print(context.global.json, &context.config, text.trim_end());
        }
    }
}

/// Answers `bmm completions`.
pub fn completions(args: &Completions) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "bmm", &mut script);
    output::print_raw(&script);
}

/// Answers `bmm man`.
pub fn man(args: &Man) -> Outcome {
    let command = Cli::command();
    if let Some(dir) = &args.dir {
        std::fs::create_dir_all(dir).doing("create", dir)?;
        return clap_mangen::generate_to(command, dir).doing("write manual pages into", dir);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).expect("writing to memory cannot fail");
    output::print_raw(&page);
    Ok(())
}
