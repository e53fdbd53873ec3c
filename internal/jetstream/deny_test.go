package jetstream

import "testing"

// TestPermissionsOfNamespacesStayApart: to have used one does not mean that the others
// were withdrawn, so that a denial of them ends.
func TestPermissionsOfNamespacesStayApart(t *testing.T) {
	for subject, want := range map[string]string{
		"$O.blobs.M.main.abc":                                 "$O.blobs.M.main",
		"$O.blobs.C.pr.abc.65536.0":                           "$O.blobs.C.pr",
		"$JS.API.DIRECT.GET.OBJ_blobs.$O.blobs.M.main.abc":    "read $O.blobs.M.main",
		"$JS.API.DIRECT.GET.OBJ_blobs.$O.blobs.C.pr.abc.64.0": "read $O.blobs.C.pr",
		"$JS.API.DIRECT.GET.KV_cache.$KV.cache.main.abc":      "read $KV.cache.main",
		"$JS.API.DIRECT.GET.OBJ_blobs":                        "$JS.API.DIRECT.GET.OBJ_blobs",
		"$JS.API.DIRECT.GET.RUNS.mp.run.r1.mod.m":             "$JS.API.DIRECT.GET.RUNS",
		"$KV.cache.main.abc.flight":                           "$KV.cache.main",
		"$KV.locks.abc":                                       "$KV.locks",
		"$JS.API.STREAM.INFO.RUNS":                            "$JS.API.STREAM.INFO.RUNS",
		"$JS.API.CONSUMER.CREATE.RUNS.x":                      "$JS.API.CONSUMER.CREATE.RUNS",
		"mp.run.r1.mod.m":                                     "mod",
		"mp.log.r1.m.1":                                       "mp.log",
	} {
		if got := permission(subject); got != want {
			t.Errorf("%s: %s, want %s", subject, got, want)
		}
	}
}
