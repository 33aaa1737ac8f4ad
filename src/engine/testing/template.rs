//! A template that nothing could boot from.

use std::path::Path;

use hostel_model::distribution::InitKind;
use hostel_model::template::{Init, TemplateRecord, TemplateRef};
use hostel_system::archive::{self, Tree};

/// Puts one into a store.
pub(super) fn make(store: &Path, reference: &str) {
    let TemplateRef { name, version } = reference.parse().unwrap();
    let version = version.unwrap();
    let place = store.join(name.as_str()).join(version.as_str());
    std::fs::create_dir_all(place.join("root/sbin")).unwrap();
    std::fs::write(place.join("root/sbin/init"), "#!/bin/sh\n").unwrap();
    let manifest = archive::manifest(&Tree::open(&place.join("root")).unwrap()).unwrap();
    std::fs::write(place.join("manifest"), &manifest.text).unwrap();
    std::fs::write(place.join("packages"), "").unwrap();
    let record = TemplateRecord {
        name,
        version,
        family: "busybox".parse().unwrap(),
        source: "a test".into(),
        created: "2026-01-01T00:00:00Z".parse().unwrap(),
        checksum: manifest.checksum,
        size: manifest.size,
        files: manifest.files,
        packages: 0,
        recipe: None,
        left_out: Vec::new(),
        init: Init {
            kind: InitKind::Busybox,
            path: "/sbin/init".into(),
        },
    };
    std::fs::write(place.join("template.toml"), record.to_toml().unwrap()).unwrap();
}
