package query

// Pinned is a value that a column of a need is pinned to.
type Pinned struct {
	// Param is the index in Query.Params of the parameter that has the value; -1: Const is it.
	Param int
	// List is true if the parameter is a list: each of its elements is a value.
	List bool
	// Const is the constant, as Postgres prints it.
	Const string
}

// Pinned are the values that the need's columns are pinned to, in the order of Columns: a row counts only if each of its columns has one
// of its values. Read backwards, they say which requests a row matters to.
func (n *Need) Pinned() [][]Pinned {
	all := make([][]Pinned, len(n.values))
	for i, values := range n.values {
		for _, v := range values {
			all[i] = append(all[i], Pinned{Param: v.param, List: v.list, Const: v.text})
		}
	}
	return all
}
