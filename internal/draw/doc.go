// Package draw draws the graph of a pipeline: for Graphviz and Mermaid, as a
// picture (SVG), and as a page with the picture and a table (HTML).
//
// A drawing is the graph with families as boxes. A picture adds what is known of
// a run, or how long modules took before, finds the critical path, and merges
// modules into fewer boxes where there are too many. The layout (layout.go) puts
// boxes into layers, orders each layer so that few links cross, and routes the
// links; it knows nothing of pipelines.
//
// Every text from a pipeline is escaped for the place in which it is shown.
package draw
