//! Every key of the directory, made and read here only.
//!
//! A key is a table's byte and its parts. Texts that another part follows end
//! with a zero byte, which no id may hold; so no two keys differ only by where
//! one part ends, and keys sort as the ids do. Numbers are big-endian, so they
//! sort too. The workspace is in the prefix that storage puts before a group's
//! keys, so it is not repeated here.
