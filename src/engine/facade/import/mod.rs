//! VEs and plans from the files of a host with OpenVZ: `hostel import openvz`.

mod conf;

use std::path::{Path, PathBuf};

use hostel_model::definition::{FileKind, Plan, keys_of};
use hostel_model::edit::edit_plan;
use hostel_model::id::{PlanName, VeId, VeName};
use hostel_model::idmap::SLOT_SIZE;
use hostel_model::request::Create;
use hostel_model::units::human;
use hostel_system::archive::{Measure, Tree, measure};
use hostel_system::file;
use serde::Serialize;

use self::conf::{NO_INTERFACE, Read};
use super::{Engine, Progress, VeHandle};
use crate::error::{Class, Error, Result};
use crate::templates::Nature;

/// A container that is to become a VE.
#[derive(Debug, Clone, Default)]
pub struct ImportOrder {
    /// Its CTID.conf.
    pub conf: PathBuf,
    /// Its private area: a root tree.
    pub private: PathBuf,
    /// What it is to be called; else as it was, or `ct` and its number.
    pub name: Option<String>,
    /// Settings on top of what the file says.
    pub settings: Vec<(String, String)>,
    /// Only tell.
    pub dry_run: bool,
}

/// What became of a line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportLine {
    /// The line, from 1.
    pub line: usize,
    /// Its parameter; empty if it has none.
    pub key: String,
    /// Its value.
    pub value: String,
    /// In one word.
    pub fate: Fate,
    /// The settings, or why there are none.
    pub what: String,
    /// The settings that do something.
    #[serde(skip)]
    settings: Vec<(String, String)>,
}

impl ImportLine {
    fn lost(line: usize, key: &str, value: &str, why: String) -> Self {
        Self {
            line,
            key: key.to_owned(),
            value: value.to_owned(),
            fate: Fate::Lost,
            what: why,
            settings: Vec::new(),
        }
    }

    /// In a plan only what plans say is left of it.
    fn of_plan(&mut self, is_plans: impl Fn(&str) -> bool) {
        let said = self.settings.len();
        self.settings.retain(|(key, _)| is_plans(key));
        if self.fate == Fate::Became && self.settings.is_empty() {
            (self.fate, self.what) = (Fate::Lost, "a plan doesn't say this: each VE does".to_owned());
        } else if self.fate == Fate::Became && self.settings.len() < said {
            let left: Vec<String> = self
                .settings
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            self.what = format!("{}; a plan doesn't say the rest: each VE does", left.join("; "));
        } else if self.fate == Fate::Kept {
            self.fate = Fate::Lost;
            self.what.push_str("; a plan remembers nothing");
        }
    }
}

/// What became of a parameter, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// Settings that mean the same, or nearly.
    Became,
    /// It is remembered for the tools of OpenVZ, and has no effect.
    Kept,
    /// It is not taken over.
    Lost,
}

/// A VE that was made, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The VE.
    pub ve: VeHandle,
    /// What became of each line.
    pub lines: Vec<ImportLine>,
    /// How many files its tree has.
    pub files: u64,
    /// How many bytes they take.
    pub bytes: u64,
    /// Nothing was made.
    pub dry_run: bool,
}

/// A plan that was made, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportedPlan {
    /// Its name.
    pub plan: PlanName,
    /// Its file.
    pub path: PathBuf,
    /// What became of each line.
    pub lines: Vec<ImportLine>,
    /// Nothing was made.
    pub dry_run: bool,
}

impl Engine {
    /// Makes a VE of a container's configuration and its private area, of which it gets a copy. Whatever fails, or is
    /// interrupted, leaves nothing but an empty template.
    pub fn import_openvz(&self, order: &ImportOrder, progress: &dyn Progress) -> Result<Imported> {
        let nature = private_area(&order.private)?;
        progress.step("looking at the tree");
        let measured = measure(&Tree::open(&order.private)?)?;
        no_strangers(&order.private, &measured)?;
        let Measure { files, bytes, .. } = measured;
        let ctid = stem(&order.conf);
        let mut read = self.read_conf(&order.conf, &ctid)?;
        let mut settings = vec![("template".to_owned(), nature.name.to_string())];
        let id = self.id_for(&ctid, &mut read.lines)?;
        settings.extend(id.map(|id| ("id".to_owned(), id.to_string())));
        let names_networks = order.settings.iter().any(|(key, _)| key.starts_with("network"));
        read.settings.retain(|(key, _)| !names_networks || key != NO_INTERFACE);
        let name = self.name_for(order, &mut read, &ctid);
        settings.append(&mut read.settings);
        settings.extend(order.settings.iter().cloned());
        let request = Create {
            name: Some(name),
            settings,
            tree: Some(absolute(&order.private)?),
            ..Create::default()
        };
        let (ve, disk_size) = self.judge_create(&request, progress)?;
        if bytes > disk_size {
            let (holds, size) = (human(bytes), human(disk_size));
            return Err(Error::new(
                Class::Limit,
                format!(
                    "{} holds {holds}, and the disk of {} is to have {size}",
                    order.private.display(),
                    ve.name
                ),
            )
            .hint("give it a larger one: --set disk.size=SIZE"));
        }
        let ve = match order.dry_run {
            true => ve,
            false => {
                self.host.templates().bare(&nature, progress)?;
                self.create(&request, progress)?
            }
        };
        Ok(Imported {
            ve,
            lines: read.lines,
            files,
            bytes,
            dry_run: order.dry_run,
        })
    }

    /// Makes a plan of a sample (`ve-NAME.conf-sample`).
    pub fn import_sample(&self, sample: &Path, settings: &[(String, String)], dry_run: bool) -> Result<ImportedPlan> {
        let plan = plan_of(sample).ok_or_else(|| {
            Error::new(Class::Usage, format!("{} is called as no sample is", sample.display()))
                .hint("a sample is a file ve-NAME.conf-sample, and the plan gets that name")
        })?;
        let path = self.host.dirs.definitions("plans").join(format!("{plan}.toml"));
        if path.exists() {
            return Err(Error::new(
                Class::Refused,
                format!("there is a plan {plan} already, at {}", path.display()),
            )
            .hint("rename the sample, or remove the plan"));
        }
        let Read {
            mut lines,
            settings: said,
            ..
        } = self.read_conf(sample, plan.as_str())?;
        let keys = keys_of(FileKind::Plan);
        let is_plans = |key: &str| keys.iter().any(|doc| doc.key == key);
        let mut of_plan: Vec<_> = said.into_iter().filter(|(key, _)| is_plans(key)).collect();
        for line in &mut lines {
            line.of_plan(is_plans);
        }
        of_plan.extend(settings.iter().cloned());
        for key in ["memory.limit", "processes"] {
            if !of_plan.iter().any(|(said, _)| said == key) {
                of_plan.push((key.to_owned(), "unlimited".to_owned()));
            }
        }
        let file = path.display().to_string();
        let text = edit_plan(&file, "", &of_plan).map_err(|e| {
            Error::new(Class::Usage, format!("cannot make a plan of {}", sample.display()))
                .because(e)
                .hint("say what it doesn't: --set disk.size=10GiB")
        })?;
        let text = format!("# From {}\n{text}", sample.display().to_string().escape_debug());
        Plan::parse(&file, &text)
            .map_err(|e| Error::new(Class::Usage, format!("cannot make plan {plan}")).because(e))?;
        if !dry_run {
            file::make_dir(&self.host.dirs.definitions("plans"))?;
            file::write_atomic(&path, text.as_bytes(), 0o600)?;
        }
        Ok(ImportedPlan {
            plan,
            path,
            lines,
            dry_run,
        })
    }

    /// The number it had, if it can have it here.
    fn id_for(&self, ctid: &str, lines: &mut Vec<ImportLine>) -> Result<Option<VeId>> {
        let lost = |why: String| ImportLine::lost(0, "CTID", ctid, why);
        match ctid.parse::<VeId>() {
            Ok(id) if self.host.taken(None)?.ids.contains(&id) => {
                lines.insert(
                    0,
                    lost("there is a VE of that number already; it gets another".to_owned()),
                );
                Ok(None)
            }
            Ok(id) => Ok(Some(id)),
            Err(e) => {
                lines.insert(0, lost(format!("{e}; it gets another")));
                Ok(None)
            }
        }
    }

    /// As asked, as it was, or by its number; what became of the old one is told.
    fn name_for(&self, order: &ImportOrder, read: &mut Read, ctid: &str) -> String {
        let was = read.name.as_ref().filter(|name| name.parse::<VeName>().is_ok());
        let by_number = || match ctid.parse::<VeName>() {
            Ok(name) => name.to_string(),
            Err(_) => format!("ct{ctid}"),
        };
        let name = order.name.clone().or_else(|| was.cloned()).unwrap_or_else(by_number);
        if let Some(old) = read.name.take().filter(|old| *old != name) {
            let (fate, what) = match order.name {
                Some(_) => (Fate::Lost, "--name says another"),
                None => (Fate::Kept, "no VE can be called so"),
            };
            if fate == Fate::Kept {
                read.settings.push(("openvz.NAME".to_owned(), old));
            }
            let old = |line: &&mut ImportLine| line.key == "NAME" && line.fate == Fate::Became;
            for line in read.lines.iter_mut().filter(old) {
                (line.fate, line.what) = (fate, what.to_owned());
            }
        }
        name
    }
}

/// Looks whether this is a private area that can be taken in.
fn private_area(private: &Path) -> Result<Nature> {
    use std::os::unix::fs::MetadataExt;
    let bad =
        |why: String| Error::new(Class::Usage, format!("{} can't become a VE's tree", private.display())).because(why);
    let meta = std::fs::symlink_metadata(private)
        .map_err(|e| Error::new(Class::NotFound, format!("there is no {}", private.display())).because(e))?;
    if !meta.is_dir() {
        return Err(bad("it is no directory".to_owned()));
    }
    if !private.join("etc").is_dir() && (private.join("root.hdd").exists() || private.join("root.hds").exists()) {
        return Err(bad("it holds a disk image, not a tree".to_owned())
            .hint("mount the image (ploop mount -m DIR DiskDescriptor.xml), and give that directory"));
    }
    if meta.uid() != 0 {
        return Err(
            bad(format!("its owner is user {}, so its owners are shifted", meta.uid()))
                .hint("give a tree whose root is owned by user 0, such as an archive that was made inside"),
        );
    }
    Nature::of(private).map_err(|mut e| {
        e.message = format!("{} can't become a VE's tree: {}", private.display(), e.message);
        e
    })
}

/// A file of somebody whom no VE has can't be used inside, by nobody.
fn no_strangers(private: &Path, measured: &Measure) -> Result<()> {
    let Some((path, id)) = &measured.stranger else {
        return Ok(());
    };
    let (private, count) = (private.display(), measured.strangers);
    let last = SLOT_SIZE - 1;
    Err(Error::new(Class::Usage, format!("{private} can't become a VE's tree"))
        .because(format!(
            "{count} files in it have an owner, a group or an ACL with an id above {last}, the last that a VE has; \
                 the first is \"{path}\", with {id}"
        ))
        .hint(format!(
            "give them to lower ids (chown -h, chgrp -h, setfacl), in a copy; find them: \
                 find {private} -uid +{last} -o -gid +{last}"
        )))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::new(Class::Usage, format!("{} is no path", path.display())).because(e))
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .map(|s| s.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The name of the plan that a sample's file is for.
pub fn plan_of(sample: &Path) -> Option<PlanName> {
    let name = sample.file_name()?.to_str()?;
    name.strip_prefix("ve-")?
        .strip_suffix(".conf-sample")?
        .to_lowercase()
        .parse()
        .ok()
}
