//! Building a template from a recipe, and what building and importing have in common: judging the finished tree,
//! writing down what is known of it, and giving it its name.

use std::path::Path;

use hostel_model::distribution::Family;
use hostel_model::id::TemplateName;
use hostel_model::recipe::{Recipe, Tool};
use hostel_model::template::{Init, TemplateRecord, TemplateRef, TemplateVersion};
use hostel_system::archive::{self, Job, Limits, Report, Tree};
use hostel_system::file;
use jiff::Timestamp;

use super::{Staging, Template, Templates, bootstrap, busybox, inspect, needs};
use crate::error::{Class, Error, Result};
use crate::facade::Progress;
use crate::interrupt;

/// What the tools of the last failed build said.
pub(super) const FAILED_LOG: &str = "failed-build.log";

/// A version in the making.
pub(super) struct Draft {
    pub(super) name: TemplateName,
    pub(super) version: TemplateVersion,
    pub(super) created: Timestamp,
    pub(super) staging: Staging,
}

/// What a finished tree is, as far as its maker knows.
pub(super) struct Made {
    pub(super) source: String,
    pub(super) family: Family,
    pub(super) init: Init,
    pub(super) recipe: Option<String>,
    pub(super) report: Report,
}

impl Templates {
    /// Builds a template by a recipe. `text`: the recipe as written, whose hash goes on record. The tool's words
    /// are kept in `build.log` beside the tree. A failure shows the last of them, and keeps them all in
    /// `failed-build.log` in the template's directory.
    pub fn build(&self, recipe: &Recipe, text: &str, progress: &dyn Progress) -> Result<Template> {
        needs::check(&recipe.bootstrap)?;
        let draft = self.draft(&recipe.name, recipe.version.clone(), progress)?;
        let log = draft.staging.path().join("build.log");
        let kept = self.dir.join(recipe.name.as_str()).join(FAILED_LOG);
        match self.make(&draft, recipe, &log, progress) {
            Ok((root, made)) => {
                file::remove_file(&kept)?;
                let made = Made {
                    recipe: Some(archive::sha256(text.as_bytes())),
                    ..made
                };
                self.finish(draft, &root, made, progress)
            }
            // The tools heard Ctrl-C too: what they say of it is no news.
            Err(_) if interrupt::raised() => Err(interrupted(&recipe.name)),
            Err(e) if e.class != Class::Interrupted && std::fs::rename(&log, &kept).is_ok() => {
                Err(e.hint(format!("all that the tools said is in {}", kept.display())))
            }
            Err(e) => Err(e),
        }
    }

    /// Makes the tree in the staging directory.
    fn make(&self, draft: &Draft, recipe: &Recipe, log: &Path, progress: &dyn Progress) -> Result<(Tree, Made)> {
        let temp = draft.staging.path().join("temp");
        file::make_dir(&temp)?;
        let root = Tree::create(&draft.staging.path().join("root"))?;
        let line = |text: &str| tell(text, progress);
        let report = bootstrapped(recipe, &root, &temp, log, &line, progress)?;
        for run in &recipe.runs {
            if interrupt::raised() {
                return Err(interrupted(&recipe.name));
            }
            progress.step(&format!("running {}", run.argv.as_slice().join(" ")));
            let argv = run.argv.as_slice().iter().map(Into::into).collect();
            Job {
                inside: Some(&root),
                ..Job::new(argv, "", &temp, log, &line)
            }
            .run()?;
        }
        for pattern in &recipe.remove {
            root.remove_matching(pattern.as_str())?;
        }
        for f in &recipe.files {
            root.write(f.path.as_str(), f.mode.bits(), f.content.as_bytes())?;
        }
        for link in &recipe.links {
            root.symlink(link.path.as_str(), link.target.as_str())?;
        }
        let init = inspect::init(&root)?;
        if init.kind != recipe.init.kind {
            let message = format!(
                "{}'s init is {}, and its recipe says {}",
                recipe.name, init.kind, recipe.init.kind
            );
            return Err(Error::new(Class::Failed, message).hint("mend init.kind or the packages of the recipe"));
        }
        file::remove_tree(&temp)?;
        let source = format!("recipe {} by {}", recipe.name, recipe.bootstrap.tool);
        Ok((
            root,
            Made {
                source,
                family: recipe.family,
                init,
                recipe: None,
                report,
            },
        ))
    }

    /// Begins a version: its name must be free.
    pub(super) fn draft(
        &self,
        name: &TemplateName,
        version: Option<TemplateVersion>,
        progress: &dyn Progress,
    ) -> Result<Draft> {
        // To the second: nobody needs more, and everybody has to read it.
        let mut second = Timestamp::now().as_second();
        if version.is_none() {
            // A second build in the same second is the next second's: later than the first, and named so.
            let taken =
                |s: i64| Timestamp::from_second(s).is_ok_and(|t| self.place(name, &TemplateVersion::at(t)).exists());
            while taken(second) {
                second += 1;
            }
        }
        let created = Timestamp::from_second(second).unwrap_or_default();
        let version = version.unwrap_or_else(|| TemplateVersion::at(created));
        if self.place(name, &version).exists() {
            let reference = TemplateRef {
                name: name.clone(),
                version: Some(version),
            };
            return Err(
                Error::new(Class::Refused, format!("template {reference} exists already"))
                    .hint("remove it first, or give another version"),
            );
        }
        file::make_dir(&self.dir)?;
        for path in super::staging::remove_leftovers(&self.dir)? {
            progress.note(&format!(
                "removed {}, which a build that was killed left",
                path.display()
            ));
        }
        let staging = Staging::new(&self.dir, &self.dir.join(name.as_str()))?;
        Ok(Draft {
            name: name.clone(),
            version,
            created,
            staging,
        })
    }

    /// Lists and hashes the tree, writes its record, brings all to the disk, and gives it its name.
    pub(super) fn finish(&self, draft: Draft, root: &Tree, made: Made, progress: &dyn Progress) -> Result<Template> {
        progress.step("listing the files");
        let Draft {
            name,
            version,
            created,
            staging,
        } = draft;
        if made.report.left_out_count > 0 {
            let some = made
                .report
                .left_out
                .iter()
                .take(8)
                .cloned()
                .collect::<Vec<_>>()
                .join(", ");
            progress.note(&format!(
                "left out {} device nodes and sockets: {some}",
                made.report.left_out_count
            ));
        }
        if made.report.labels_left_out > 0 {
            progress.note(&format!(
                "left out {} labels of security modules",
                made.report.labels_left_out
            ));
        }
        let packages = inspect::packages(root)?;
        let manifest = archive::manifest(root)?;
        let record = TemplateRecord {
            name,
            version,
            family: made.family,
            source: made.source,
            created,
            checksum: manifest.checksum,
            size: manifest.size,
            files: manifest.files,
            packages: packages.len() as u64,
            recipe: made.recipe,
            left_out: made.report.left_out,
            init: made.init,
        };
        let text = record
            .to_toml()
            .map_err(|e| Error::new(Class::Failed, "cannot write down what is known of the template").because(e))?;
        let dir = staging.path();
        let listing: String = packages.iter().map(|p| format!("{p}\n")).collect();
        file::write_atomic(&dir.join("packages"), listing.as_bytes(), 0o600)?;
        file::write_atomic(&dir.join("manifest"), manifest.text.as_bytes(), 0o600)?;
        file::write_atomic(&dir.join("template.toml"), text.as_bytes(), 0o600)?;
        progress.step("writing to disk");
        root.sync()?;
        if interrupt::raised() {
            return Err(interrupted(&record.name));
        }
        let path = self.place(&record.name, &record.version);
        staging.commit(&path)?;
        Ok(Template { record, path })
    }
}

/// What is staged goes when it is dropped.
fn interrupted(name: &TemplateName) -> Error {
    Error::new(
        Class::Interrupted,
        format!("the making of template {name} was interrupted, and is undone"),
    )
}

/// Makes the tree by the recipe's tool.
fn bootstrapped(
    recipe: &Recipe,
    root: &Tree,
    temp: &Path,
    log: &Path,
    line: &(dyn Fn(&str) + Sync),
    progress: &dyn Progress,
) -> Result<Report> {
    let b = &recipe.bootstrap;
    progress.step(&format!("making the tree by {}", b.tool));
    let package = bootstrap::package_of(b.tool);
    let job = |argv| Job::new(argv, package, temp, log, line);
    let limits = Limits::default();
    let directory = temp.join("tree");
    match b.tool {
        Tool::Mmdebstrap => Ok(job(bootstrap::mmdebstrap(b)).start(|out| archive::unpack(out, root, &limits))?),
        Tool::Busybox => {
            busybox::lay_out(root, temp, log, line)?;
            Ok(Report::default())
        }
        Tool::Debootstrap | Tool::Apk => {
            Tree::create(&directory)?;
            let argv = match b.tool {
                Tool::Apk => bootstrap::apk(b, &directory),
                _ => bootstrap::debootstrap(b, &directory),
            };
            job(argv).run()?;
            let report = archive::copy_tree(&Tree::open(&directory)?, root)?;
            file::remove_tree(&directory)?;
            Ok(report)
        }
    }
}

/// What of a tool's words is worth showing: mmdebstrap and debootstrap mark steps with `I: ` and warnings with `W: `.
fn tell(text: &str, progress: &dyn Progress) {
    // A tree in the making lies where only root comes, so apt's own sandbox user can't: expected, and no news.
    if interrupt::raised() || text.contains("Download is performed unsandboxed as root") {
        return;
    }
    if let Some(step) = text.strip_prefix("I: ") {
        progress.step(step);
    } else if let Some(warning) = text.strip_prefix("W: ") {
        progress.note(warning);
    }
}
