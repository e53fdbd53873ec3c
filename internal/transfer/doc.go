// Package transfer moves trees of files through NATS. It may change at any time.
//
// A tree is stored as values of package content, in one namespace of its store:
//
//   - A section is a contiguous range of the tree's paths, about 768 files. Its value
//     is the list of these files, and its digest that of the list.
//   - A pack holds the contents of neighbouring files of a section together, about
//     half a megabyte, in zstd. Its digest is that of the digests and sizes of these
//     files, so that a program with the list of the files knows it without reading
//     them. A file above mostPacked is a value of its own, by its own digest.
//   - The manifest lists the sections. A jobs.Tree names it.
//
// Hashes of paths decide where sections and packs end, so a file that changes
// changes one pack, one section and the manifest.
//
// Push first asks for all sections, then for the packs of the sections that are not
// stored, and sends what is missing: packs first, then sections, then the manifest.
// A value that exists is therefore complete: a section that is stored needs no further
// questions. What an interrupted Push has stored is found by the next one.
//
// The reader checks everything: a list by its digest, the contents of
// packs by the digests of the files, and the whole list by the root of the tree. A
// part that is damaged is read again. Then the error names it, and a writer of the
// namespace notes that the section is damaged, so that the next Push stores it again.
//
// No function holds more in memory than the list of the files and a few packs; a
// large file passes in segments. Transfers use the second connection of package
// jetstream, within its windows, and so delay no heartbeat.
package transfer
