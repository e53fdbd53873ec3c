package jobs

import (
	"slices"
	"strings"
	"time"
)

// CacheDir is a directory that an attempt finds as an earlier one has left it.
type CacheDir struct {
	Name       string `msgpack:"name"`
	Path       string `msgpack:"path,omitempty"` // below the workspace; exactly one of Path and Env is set
	Env        string `msgpack:"env,omitempty"`  // elsewhere: the variable that holds its path
	Key        string `msgpack:"key"`
	ReadOnly   bool   `msgpack:"read_only,omitempty"` // it is not stored
	FailOnMiss bool   `msgpack:"fail_on_miss,omitempty"`
	// Found is the key of what is restored: Key, or a newer one that begins as
	// Restore says; "" = nothing is.
	Found string `msgpack:"found,omitempty"`
	Tree  Tree   `msgpack:"tree,omitempty"` // what is restored

	// Restore are the beginnings of keys that are as good. They do not travel.
	Restore []string `msgpack:"-"`
}

// Stored reports whether the directory is stored under Key after a success.
func (c *CacheDir) Stored() bool { return !c.ReadOnly && c.Found != c.Key }

// StoredDir is a cache directory that an attempt has stored.
type StoredDir struct {
	Name string `msgpack:"name"`
	Key  string `msgpack:"key"`
	Tree Tree   `msgpack:"tree"`
}

// CacheDirEntry says where the content of a cache directory is. What it says is the
// claim of a program that may write to its namespace.
type CacheDirEntry struct {
	Name   string    `msgpack:"name"`
	Key    string    `msgpack:"key"`
	Run    RunID     `msgpack:"run"`    // that stored it
	Module string    `msgpack:"module"` // by name
	When   time.Time `msgpack:"when"`
	Tree   Tree      `msgpack:"tree"`
}

// CacheDirIndex lists the newest keys of cache directories of one name, the newest
// first.
type CacheDirIndex struct {
	Name   string      `msgpack:"name"`
	Recent []RecentDir `msgpack:"recent"`
}

// RecentDir is a key of an index.
type RecentDir struct {
	Key     string    `msgpack:"key"`
	Restore []string  `msgpack:"restore,omitempty"` // beginnings of it, by which its module restores others
	When    time.Time `msgpack:"when"`
}

const (
	maxDirsOfPrefix = 20  // keys with one beginning that an index keeps
	maxDirs         = 400 // keys that it keeps in all
)

// Add puts a key in front. Of the keys that begin in the same way, as their own
// modules restore them, the index keeps the newest 20.
func (x *CacheDirIndex) Add(d RecentDir) {
	d.Restore = slices.DeleteFunc(slices.Clone(d.Restore), func(p string) bool { return !strings.HasPrefix(d.Key, p) })
	x.Recent = slices.DeleteFunc(x.Recent, func(r RecentDir) bool { return r.Key == d.Key })
	x.Recent = slices.Insert(x.Recent, 0, d)
	seen := map[string]int{}
	x.Recent = slices.DeleteFunc(x.Recent, func(r RecentDir) bool {
		kept := false
		for _, p := range append(slices.Clone(r.Restore), "") {
			if p != "" || len(r.Restore) == 0 {
				seen[p]++
				kept = kept || seen[p] <= maxDirsOfPrefix
			}
		}
		return !kept
	})
	x.Recent = x.Recent[:min(len(x.Recent), maxDirs)]
}

// Remove removes a key.
func (x *CacheDirIndex) Remove(key string) {
	x.Recent = slices.DeleteFunc(x.Recent, func(r RecentDir) bool { return r.Key == key })
}

// Matching returns the keys that begin with a prefix, the newest first.
func (x *CacheDirIndex) Matching(prefix string) []string {
	var keys []string
	for _, r := range x.Recent {
		if strings.HasPrefix(r.Key, prefix) {
			keys = append(keys, r.Key)
		}
	}
	return keys
}
