//! The `hostel` command: `argv[0]` picks the face.

fn main() -> std::process::ExitCode {
    hostel_faces::main()
}
