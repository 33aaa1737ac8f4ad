//! What the keys do.

/// For the screen, and for nothing else: the manual has no keys to show.
pub const KEYS: &str = "\
Up Down PgUp PgDn Home End   choose a line
Tab, Shift-Tab               next and previous kind of figures
s                            sort by: used, % of limit, % of share, name
C M D R W I O P N            sort by: cpu, memory, disk, read, write, in, out,
                             processes, name
t                            show one tenant only; an empty name shows all
b                            a line for each VE, or for each tenant
a                            show VEs that don't run too, or not
Enter                        processes of the VE; Esc goes back
p                            pause the VE, or let it go on
x                            stop the VE, after a question
+ -                          read more often, or less
q                            leave
";
