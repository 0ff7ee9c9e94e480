package analysis

// Rules are the rules that a test can drop, by name.
var Rules = map[string]rule{
	"preservedSide": preservedSide, "ownJoin": ownJoin, "either": either, "negation": negation, "equalsOnly": equalsOnly,
	"everyValue": everyValue, "ownLevel": ownLevel, "canonical": canonical, "sameType": sameType,
	"underLimit": underLimit, "underWindow": underWindow, "underDistinctOn": underDistinctOn, "sharedWith": sharedWith,
	"readSelected": readSelected, "readWhere": readWhere, "readOn": readOn, "readUsing": readUsing,
	"readGroup": readGroup, "readHaving": readHaving, "readOrder": readOrder, "readWindow": readWindow, "readOutwards": readOutwards,
	"readRows": readRows, "readGenerated": readGenerated, "partitionRoot": partitionRoot,
}

// AnalyzeWithout is Analyze without one of its rules.
func AnalyzeWithout(c *Catalog, sql string, dropped rule) (*Result, error) {
	return analyze(&analyzer{catalog: c, dropped: dropped}, sql)
}

// Misjudged is the catalog with columns of a type taken for a class to which they do not belong.
func (c *Catalog) Misjudged(belongs func(Column) bool, class string) *Catalog {
	out := *c
	out.relations = map[[2]string]*Relation{}
	for name, r := range c.relations {
		wrong := *r
		wrong.Columns = append([]Column(nil), r.Columns...)
		for i := range wrong.Columns {
			if belongs(wrong.Columns[i]) {
				wrong.Columns[i].Class = class
			}
		}
		out.relations[name] = &wrong
	}
	return &out
}
