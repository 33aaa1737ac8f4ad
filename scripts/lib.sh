# shellcheck shell=bash
# What the scripts share. Sourced by bash from the top of the project, with set -euo pipefail.

say() {
    printf '== %s\n' "$*" >&2
}

die() {
    printf 'error: %s\n' "$1" >&2
    shift
    for hint in "$@"; do
        printf '  %s\n' "$hint" >&2
    done
    exit 1
}

need_root() {
    [ "$(id -u)" = 0 ] || die "$(basename "$0") needs root" "it makes namespaces, mounts, control groups and packet rules: run it with sudo"
}

# Installs what is missing of these Debian packages.
need_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "these packages are missing and there is no apt-get: ${missing[*]}"
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -q --no-install-recommends "${missing[@]}" </dev/null >&2 2>/dev/null || {
        apt-get update -q </dev/null >&2
        apt-get install -y -q --no-install-recommends "${missing[@]}" </dev/null >&2
    }
}

# A Rust toolchain that is new enough for this workspace.
need_cargo() {
    local wanted have
    # Under sudo the user's own toolchain is out of sight.
    if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    fi
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    command -v cargo >/dev/null || die "cargo is not installed; Hostel needs Rust $wanted or newer" \
        "Debian 12's own package is too old: install it with rustup (https://rustup.rs), then run this again" \
        "if another user has it, name it: sudo env PATH=\"\$PATH\" $0"
    have=$(cargo --version | cut -d' ' -f2)
    [ "$(printf '%s\n%s\n' "$wanted" "${have%%-*}" | sort -V | head -n 1)" = "$wanted" ] ||
        die "cargo $have is too old; Hostel needs Rust $wanted or newer" "bring it up to date: rustup update stable"
}

# Builds the programs as they are installed, and tells in $release where they lie. They are static: a fifth of
# what a short command takes would be the dynamic linker's work.
build_release() {
    local host
    host=$(rustc -vV | sed -n 's/^host: //p')
    # With a target named, the flags are for the programs alone and not for what runs while they are built.
    RUSTFLAGS="${RUSTFLAGS-} -C target-feature=+crt-static" \
        cargo build --release --locked --target "$host" -p hostel -p hostel-monitor
    # shellcheck disable=SC2034 # for whoever called
    release=$PWD/target/$host/release
}

# Parts of the toolchain that a small installation lacks.
need_rust_components() {
    local component
    for component in "$@"; do
        cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$component" ||
            die "this Rust toolchain has no $component" "add it: rustup component add $component"
    done
}

# Where the tests keep the templates they share (tests/house/mod.rs): made anew when a recipe changes.
template_store() {
    local key
    key=$(LC_ALL=C; cat images/*.toml | sha256sum | cut -c 1-12)
    printf '/var/cache/hostel-test/templates-%s\n' "$key"
}

# Builds a template in that store if it is not there, with a Hostel of its own: PROGRAM STORE NAME WORKDIR
ensure_template() {
    local program=$1 store=$2 name=$3 own=$4/build
    mkdir -p "$store"
    (
        flock 9
        if ! compgen -G "$store/$name/*/template.toml" >/dev/null; then
            say "building template $name"
            mkdir -p "$own/etc" "$own/data" "$own/run"
            printf '[paths]\nconfig = "%s/etc"\ndata = "%s/data"\nrun = "%s/run"\ntemplates = "%s"\nimages = "%s"\n' \
                "$own" "$own" "$own" "$store" "$PWD/images" >"$own/hostel.toml"
            "$program" --config "$own/hostel.toml" template build "$name"
        fi
    ) 9>"$store/.test-$name.lock"
}
