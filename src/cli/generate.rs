//! `waypost generate`, which the package is made with; it is not listed among the commands.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, ValueEnum as _};
use clap_complete::Shell;

use super::{Arguments, CommandError, of_file};

/// Write manual pages and shell completions, from the commands' own help
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  waypost generate target/package")]
pub(super) struct Generate {
    /// A folder, which is made; it gets man/ and completions/
    folder: PathBuf,
}

impl Generate {
    pub fn run(&self) -> Result<(), CommandError> {
        let (man, completions) = (self.folder.join("man"), self.folder.join("completions"));
        for folder in [&man, &completions] {
            fs::create_dir_all(folder).map_err(of_file(folder))?;
        }
        let mut command = Arguments::command();
        // A hidden one has neither a page nor a completion.
        command.build();
        pages(&man, command.clone())?;
        for shell in Shell::value_variants() {
            clap_complete::generate_to(*shell, &mut command, "waypost", &completions).map_err(of_file(&completions))?;
        }
        Ok(())
    }
}

/// `waypost.1`, `waypost-serve.1`, `waypost-journal-ls.1` and so on.
fn pages(folder: &Path, command: clap::Command) -> Result<(), CommandError> {
    for command in command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help") {
        pages(folder, command.clone())?;
    }
    let page = clap_mangen::Man::new(command);
    let path = folder.join(page.get_filename());
    File::create(&path).and_then(|mut file| page.render(&mut file)).map_err(of_file(&path))
}
