// Package forecast plays a run in virtual time: the scheduler's own code
// decides, workers that exist only in memory take jobs by the rules of real
// ones, and every module takes as long as the caller says. It answers how long
// a pipeline would take on a given fleet.
//
// The forecast knows no faults, no delays of the network and no other runs.
// Conditions count as true, and a module that would be expanded while the run
// goes on is refused.
package forecast
