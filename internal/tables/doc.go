// Package tables has what commands print about runs, artifacts, cached results, plans and workers: the
// types whose JSON scripts read, and the tables and sentences for people. Names and
// texts of others are made safe for terminals where they are written.
package tables
