"""Every sentence of the report in both languages, and nothing else.

Figures come in ready-made: a text only says where they stand.
"""

TEXTS: dict[str, dict[str, str]] = {
    # The page
    "title": {"zh": "离校风险名单评估报告", "en": "What the support list is worth"},
    "subtitle": {
        "zh": "离校预警：供县教育局研判使用",
        "en": "Early warning for school dropout: a report for the county office",
    },
    "credo": {
        "zh": "风险是提供帮助的理由，绝不是对学生的定论。由人作出决定，任何处罚都不得依据这些数字。",
        "en": "A risk is a reason to help, never a verdict. People decide; no penalty may rest on these figures.",
    },
    "contents": {"zh": "目录", "en": "Contents"},
    "read_table": {"zh": "查看图中数据", "en": "The figures of this picture as a table"},
    "as_of": {"zh": "数据截至 {date}", "en": "as of {date}"},
    "judged_on": {
        "zh": "评估依据 {n} 条学生学期记录",
        "en": "judged on {n} student-terms",
    },
    "left_count": {"zh": "其中 {n} 条离校（{share}）", "en": "{n} of them ended in leaving ({share})"},
    "interval_of": {"zh": "{confidence} 区间 {low} 至 {high}", "en": "{confidence} interval: {low} to {high}"},
    "interval_unknown": {"zh": "区间无法估计", "en": "no interval could be estimated"},
    "with_range": {"zh": "{value}（{low} 至 {high}）", "en": "{value} ({low} to {high})"},
    "in_points": {"zh": "{metric}，百分点", "en": "{metric}, points"},
    "too_few": {"zh": "人数太少，不显示", "en": "too few to show"},
    "not_recorded": {"zh": "未记录", "en": "not recorded"},
    "share_listed": {"zh": "列入名单的比例（%）", "en": "Share of the students who are listed (%)"},
    "all_students": {"zh": "全体 {value}", "en": "all: {value}"},

    # 1 What the list is worth
    "worth": {"zh": "名单有多大价值", "en": "What the list is worth"},
    "no_verdict": {
        "zh": "没有结论：评估中没有可比较的数字。请用至少两个已有结果的学期重新训练。",
        "en": "No verdict: the evaluation holds nothing to compare. Train again with at least two terms whose outcome "
        "is known.",
    },
    "alarm_first": {
        "zh": "泄漏警报：{alarm}查清原因之前，请不要使用这份名单。",
        "en": "Leak alarm: {alarm} Do not use the list before the cause is found.",
    },
    "worth_lead": {
        "zh": "名额为全体学生的 {share} 时，在模型没有见过的往期数据上：",
        "en": "With room for {share} of the students, in past terms that the model had not seen:",
    },
    "tile_precision": {
        "zh": "每 100 名列入名单的学生中，到下一学期离校的人数",
        "en": "of 100 listed students left by the next term",
    },
    "tile_recall": {"zh": "离校学生中列入名单的比例", "en": "of all who left were on the list"},
    "tile_missed": {
        "zh": "不在名单上的离校学生（占 {share}）",
        "en": "students who left were not on the list ({share})",
    },
    "tile_random": {
        "zh": "随机抽取 100 名学生，其中离校的人数",
        "en": "of 100 students drawn at random left",
    },
    "people": {"zh": "{n} 人", "en": "{n}"},
    "model_column": {"zh": "模型", "en": "Model"},
    "ties_note": {
        "zh": "名单截断处有 {n} 名学生分数相同；视抽中谁，名单可找到 {worst} 至 {best} 的离校学生。",
        "en": "At the cut {n} students share one score; depending on who of them is drawn, the list finds {worst} to "
        "{best} of those who left.",
    },

    # The list at hand
    "listing": {"zh": "本学期名单", "en": "The list of this term"},
    "listing_counts": {
        "zh": "{students} 名学生中，名单列入 {listed} 名。",
        "en": "{listed} of {students} students are listed.",
    },
    "listing_expected": {
        "zh": "如不提供帮助，名单上预计约有 {n} 名会离校（{range}）。",
        "en": "Without help about {n} of them would leave ({range}).",
    },
    "listing_missed": {
        "zh": "名单之外预计约有 {n} 名会离校（{range}）：名单不能代替日常关心。",
        "en": "About {n} students who are not on the list would leave too ({range}): a list replaces nobody's "
        "attention.",
    },
    "listing_found": {
        "zh": "名单预计覆盖全部离校学生的 {share}（{range}）。",
        "en": "The list is expected to hold {share} of all who would leave ({range}).",
    },
    "listing_one_more": {
        "zh": "多一名帮扶人员，放在{place}收获最大：预计多覆盖 {n} 名会离校的学生（{range}）。",
        "en": "One more support worker helps most in {place}: about {n} more students who would leave ({range}).",
    },
    "listing_one_fewer": {
        "zh": "少一名帮扶人员，从{place}减损失最小：预计少覆盖 {n} 名会离校的学生（{range}）。",
        "en": "One worker fewer costs least in {place}: about {n} fewer students who would leave ({range}).",
    },
    "listing_ties": {
        "zh": "截断处有 {n} 名学生风险相同，由记录在案的抽签决定（种子 {seed}）。",
        "en": "At the cut {n} students share the same risk; a recorded draw decided (seed {seed}).",
    },
    "listing_previous": {
        "zh": "与上一份名单相比，{kept} 名学生仍在名单上，{gone} 名不再列入。",
        "en": "Of the previous list {kept} students are still listed and {gone} are not.",
    },
    "listing_basis": {
        "zh": "这些区间只含个人的偶然性，偏窄。用带有往期回测的模型生成名单，区间才完整。",
        "en": "These intervals hold the chance of each student only and are too narrow. Make the list with a model "
        "that carries its backtest to get whole ones.",
    },
    "listing_rules": {
        "zh": "同样名额下换用简单规则：往期每列入 100 名中离校的人数",
        "en": "Simple rules with the same room: of 100 listed in past terms, how many left",
    },
    "listing_places": {"zh": "各地名单", "en": "The list by place"},
    "place": {"zh": "地区或学校", "en": "Place"},
    "room": {"zh": "名额", "en": "Room for"},
    "listed": {"zh": "列入名单", "en": "Listed"},
    "expected": {"zh": "预计离校", "en": "Would leave"},
    "missed": {"zh": "名单外预计离校", "en": "Would leave, not listed"},
    "one_more": {"zh": "多一人多覆盖", "en": "One worker more"},
    "one_fewer": {"zh": "少一人少覆盖", "en": "One worker fewer"},
    "same_students": {"zh": "与模型名单重合", "en": "Same students"},
    "cases_rule": {"zh": "规则", "en": "By the rule"},
    "cases_model": {"zh": "模型", "en": "By the model"},
    "cases_difference": {"zh": "模型减规则", "en": "Model minus rule"},
    "rule": {"zh": "排序方法", "en": "Ranking"},

    # 2 Baselines
    "baselines": {"zh": "与简单规则、标准模型比较", "en": "Beside simple rules and standard models"},
    "baselines_lead": {
        "zh": "同样的名额（{share}）、同样的学生：每种排序各能找到多少离校学生。差值的区间由成对重抽样得到。",
        "en": "The same room ({share}) and the same students: how many of those who left each ranking finds. The "
        "differences are paired, so that their intervals are their own.",
    },
    "baselines_picture": {"zh": "同样名额下各排序方法的表现", "en": "Every ranking with the same room"},
    "baselines_none": {
        "zh": "没有可比较的简单规则。请在训练时给出规则列，例如缺勤率。",
        "en": "There is no simple rule to compare with. Name rule columns when training, such as the absence rate.",
    },
    "peers": {"zh": "标准模型（在相同数据上训练）", "en": "Standard models, trained on the same data"},
    "peers_none": {
        "zh": "没有与标准模型比较。训练时不要关闭标准模型，即可得到这张表。",
        "en": "No standard models were trained beside this one. Leave them switched on in training to get this table.",
    },
    "found_share": {"zh": "找到的离校学生（%）", "en": "Found of those who left (%)"},
    "precision_share": {"zh": "名单中离校的比例（%）", "en": "Left, of those listed (%)"},
    "minus_it": {"zh": "模型减它（百分点）", "en": "The model minus it (points)"},
    "judgement": {"zh": "结论", "en": "In words"},
    "better": {"zh": "模型更好", "en": "the model is better"},
    "worse": {"zh": "模型更差", "en": "the model is worse"},
    "unclear": {"zh": "没有明显差别", "en": "no clear difference"},
    "ap_difference": {"zh": "平均精确率：模型减它", "en": "Average precision: the model minus it"},

    # 3 Yield curve, 4 precision and recall
    "yield": {"zh": "名额与收获", "en": "What more or less room brings"},
    "yield_lead": {
        "zh": "横轴是名额，纵轴是找到的离校学生。曲线越陡，每个名额越有用；曲线变平后，再加名额收获有限。",
        "en": "How many of those who left are found, for every size of the list. Where the line is steep a place on "
        "the list is worth much; where it flattens more room brings little.",
    },
    "yield_picture": {"zh": "各名额下找到的离校学生", "en": "Share found by the size of the list"},
    "yield_none": {
        "zh": "没有按名额计算的收获。用当前版本重新评估即可得到。",
        "en": "The yield by size of the list was not computed. Evaluate again with this version to get it.",
    },
    "your_room": {"zh": "名额 {share}", "en": "room for {share}"},
    "pr": {"zh": "精确率与召回率", "en": "Precision and recall"},
    "pr_lead": {
        "zh": "想找到更多离校学生（向右），名单就要放长，名单中真正离校的比例随之下降（向下）。",
        "en": "To find more of those who left (to the right) the list must grow, and fewer of those listed are "
        "students who left (down).",
    },
    "pr_picture": {"zh": "精确率与召回率曲线", "en": "Precision against recall"},
    "pr_none": {
        "zh": "没有精确率与召回率曲线。用当前版本重新评估即可得到。",
        "en": "Precision was not computed against recall. Evaluate again with this version to get it.",
    },
    "lines_described": {
        "zh": "每条线是一种排序方法：{names}。",
        "en": "Each line is one ranking: {names}.",
    },

    # 5 Reliability
    "reliability": {"zh": "风险数字是否可信", "en": "Whether the risks can be taken at their word"},
    "reliability_lead": {
        "zh": "把学生按风险分组：点落在对角线上，说明给出的风险与实际离校比例一致；在线上方，说明风险被低估。竖线是 "
        "{confidence} 区间。",
        "en": "Students are put into groups by risk. A point on the diagonal: the risk came true as given. Above it: "
        "more students left than the risk said. Upright lines are {confidence} intervals.",
    },
    "reliability_picture": {"zh": "给出的风险与实际离校比例", "en": "The risk given and the share who left"},
    "reliability_groups": {"zh": "分群体的可靠性", "en": "Reliability by group"},
    "reliability_by": {"zh": "按{column}", "en": "By {column}"},
    "reliability_none": {
        "zh": "没有可靠性数据。需要有结果的学期，重新评估后即可得到。",
        "en": "The reliability was not computed. It needs terms whose outcome is known; evaluate again to get it.",
    },
    "root_note": {
        "zh": "两轴均为平方根刻度，以便看清较小的风险。",
        "en": "Both axes follow the square root, so that small risks have room.",
    },
    "mean_risk": {"zh": "平均风险（%）", "en": "Mean risk given (%)"},
    "observed": {"zh": "实际离校（%）", "en": "Left (%)"},
    "perfect": {"zh": "完全一致", "en": "risk = what happened"},
    "bin": {"zh": "组", "en": "Bin"},
    "bin_number": {"zh": "第 {n} 组", "en": "Bin {n}"},
    "bin_cell": {"zh": "{risk} → {seen}", "en": "{risk} → {seen}"},
    "bins_caption": {
        "zh": "每格：平均风险 → 实际离校（%），按风险从低到高",
        "en": "Each cell: mean risk given → share who left (%), from the lowest risks to the highest",
    },
    "ece_sentence": {
        "zh": "平均而言，给出的风险与实际相差 {ece} 个百分点（校准误差，{range}）。",
        "en": "On average the risks are {ece} points away from what happened (calibration error; {range}).",
    },

    # 6 Terms and places
    "places": {"zh": "分学期、分地区", "en": "By term and by place"},
    "places_lead": {
        "zh": "每个学期、每个地区各自一份名单，名额均为 {share}。",
        "en": "Every term and every place with a list of its own, each with room for {share}.",
    },
    "per_term": {"zh": "分学期", "en": "By term"},
    "per_place": {"zh": "分地区", "en": "By county"},
    "term": {"zh": "学期", "en": "Term"},
    "county": {"zh": "县（区）", "en": "County"},
    "per_term_none": {
        "zh": "没有分学期的数字：数据没有学期列，或没有已有结果的学期。",
        "en": "There are no figures by term: the data has no term, or none whose outcome is known.",
    },
    "per_place_none": {
        "zh": "没有分地区的数字：数据中只有一个地区，或没有记录地区。",
        "en": "There are no figures by county: the data does not say which county a student belongs to.",
    },
    "held_out": {"zh": "没有参与训练的地区", "en": "Places that the model never saw"},
    "held_out_lead": {
        "zh": "依次把 {places} 个{unit}整体留出，用其余地区训练的模型来评分：换一个地方，名单还有多大用处。",
        "en": "{places} {unit} were left out whole and scored by models trained on the others: what the list is worth "
        "in a place without a history.",
    },
    "held_out_none": {
        "zh": "没有做留出地区的检验：地区太少，或数据没有地区。至少有两个县或若干学校时可以进行。",
        "en": "No places were held out: there are too few, or the data does not name them. It takes at least two "
        "counties, or some schools.",
    },
    "unit_county": {"zh": "县（区）", "en": "counties"},
    "unit_school": {"zh": "学校", "en": "schools"},
    "seen_places": {"zh": "参与训练的地区（往期检验）", "en": "Known places, later terms"},
    "unseen_places": {"zh": "没有参与训练的地区", "en": "Places never seen"},

    # 7 Subgroups
    "groups": {"zh": "各类学生是否同样受到照顾", "en": "Whether every group of students is served"},
    "groups_lead": {
        "zh": "全体共用一份名单（名额 {share}）。左：该群体离校学生中被找到的比例，越高越好。右：该群体列入名单的学生"
        "中实际没有离校的比例。横线是 {confidence} 区间；不足 {rows} 人或离校不足 {events} 人的群体不显示。",
        "en": "One list for all, with room for {share}. Left: how many of the group's students who left were found; "
        "more is better. Right: how many of its listed students stayed. Lines are {confidence} intervals; a group of "
        "fewer than {rows} students or {events} who left is not shown.",
    },
    "groups_none": {
        "zh": "没有分群体的数字：数据没有可用于核查公平的列，或没有给出。请用 by 参数给出这些列。",
        "en": "There are no figures by group: the data has no columns to audit by, or none was named. Name them with "
        "the option `by`.",
    },
    "group_n": {"zh": "{rows} 人，离校 {events}", "en": "{events} of {rows} left"},
    "recall_axis": {"zh": "被找到的离校学生（%）", "en": "Found of those who left (%)"},
    "false_alarm_axis": {"zh": "名单中没有离校的（%）", "en": "Stayed, of those listed (%)"},
    "gap": {"zh": "分群体的校准偏差", "en": "Calibration gap by group"},
    "gap_lead": {
        "zh": "平均风险减去实际离校比例。大于零：该群体的风险被高估；小于零：被低估，应得的帮助可能被错过。",
        "en": "Mean risk minus the share who left. Above zero the group's risk is overstated; below zero it is "
        "understated, and help may be missed.",
    },
    "gap_axis": {"zh": "平均风险减实际离校（百分点）", "en": "Mean risk minus share who left (points)"},
    "group": {"zh": "群体", "en": "Group"},
    "cell": {"zh": "{column}：{level}", "en": "{column}: {level}"},
    "rows": {"zh": "人数", "en": "Students"},
    "events": {"zh": "离校", "en": "Left"},
    "base_rate": {"zh": "离校率", "en": "Share who left"},
    "false_positive_rate": {"zh": "未离校者被列入", "en": "Stayed but listed"},

    "groups_picture": {"zh": "分群体：找到多少、误报多少", "en": "Found and listed without need, by group"},
    "groups_by": {"zh": "按{column}：找到的与误报的", "en": "Found and listed without need, by {column}"},
    "groups_described": {
        "zh": "每行是一类学生：左侧为离校学生中被找到的比例，右侧为名单中没有离校的比例。",
        "en": "One row a group: on the left the share found of those who left, on the right the share of its listed "
        "students who stayed.",
    },
    "gap_by": {"zh": "按{column}的校准偏差", "en": "Calibration gap by {column}"},
    "base_rate_axis": {"zh": "实际离校（%）", "en": "Share who left (%)"},
    "places_described": {
        "zh": "每行各有一份名单；虚线是全体的数字。",
        "en": "Every row has a list of its own; the dashed line is the figure of all.",
    },

    # 8 Drivers
    "drivers": {"zh": "风险从何而来", "en": "What the risks rest on"},
    "drivers_lead": {
        "zh": "各类信息对风险的影响占比。这些是相关关系，不是因果：改变某一项不保证风险随之改变。",
        "en": "How much each kind of information moves the risks. These are associations, not causes: changing one "
        "does not promise to change the other.",
    },
    "drivers_none": {
        "zh": "没有影响因素的数字。用当前版本重新训练即可得到。",
        "en": "The drivers were not computed. Train again with this version to get them.",
    },
    "driver_groups": {"zh": "各类信息的影响占比", "en": "Share of each kind of information"},
    "driver_share": {"zh": "占全部影响的比例（%）", "en": "Share of all influence (%)"},
    "beeswarm": {"zh": "影响最大的信息", "en": "The strongest features, student by student"},
    "beeswarm_lead": {
        "zh": "每个点是一名学生。点在右侧，说明该信息提高了这名学生的风险；颜色由浅到深表示数值由低到高。",
        "en": "Each dot is one student. To the right the feature raises the student's risk; light to dark is a low to "
        "a high value.",
    },
    "beeswarm_axis": {
        "zh": "对风险的贡献（对数几率；右侧为提高风险）",
        "en": "Contribution to the risk (log-odds; to the right it rises)",
    },
    "low_value": {"zh": "数值低", "en": "low value"},
    "high_value": {"zh": "数值高", "en": "high value"},
    "feature": {"zh": "信息", "en": "Feature"},
    "kind": {"zh": "类别", "en": "Kind"},
    "mean_abs": {"zh": "平均影响（对数几率）", "en": "Mean influence (log-odds)"},
    "gain_share": {"zh": "训练增益占比", "en": "Share of the gain in training"},
    "low_third": {"zh": "低值三分之一", "en": "Lowest third of values"},
    "high_third": {"zh": "高值三分之一", "en": "Highest third of values"},

    # 9 Examples of reasons
    "reasons": {"zh": "原因示例", "en": "Examples of reasons"},
    "reasons_lead": {
        "zh": "名单会为每名学生列出这样的原因。以下是由一组学生的常见数值构成的虚拟学生，并非真实个人。",
        "en": "The list gives such reasons for every student. The students below are made up from the usual values of "
        "a group; nobody here is real.",
    },
    "reasons_none": {
        "zh": "没有原因示例：相似的高风险学生太少，无法在不指向个人的情况下举例。",
        "en": "There are no examples: too few students at high risk are alike to give one without pointing at a child.",
    },
    "risk_is": {"zh": "风险 {risk}", "en": "risk {risk}"},
    "band_high": {"zh": "高风险", "en": "high"},
    "band_raised": {"zh": "较高风险", "en": "raised"},
    "band_watch": {"zh": "需要关注", "en": "watch"},
    "band_low": {"zh": "低风险", "en": "low"},
    "changeable": {"zh": "可以改变", "en": "can be changed"},
    "context": {"zh": "背景情况", "en": "context"},
    "measure_is": {"zh": "可考虑：{measure}", "en": "Consider: {measure}"},

    # 10 Gaps in the data
    "gaps": {"zh": "数据缺口", "en": "Gaps in the data"},
    "coverage_sentence": {
        "zh": "需要评分的 {should} 人中，{share} 已评分（{scored} 人）。",
        "en": "{share} of the {should} students who need a score got one ({scored}).",
    },
    "coverage_rest": {
        "zh": "名册中其余 {rest} 人没有评分，原因如下：",
        "en": "The other {rest} rows of the roster have none, because:",
    },
    "score_needed": {"zh": "是否需要评分", "en": "Needs a score"},
    "yes": {"zh": "是", "en": "yes"},
    "no": {"zh": "否", "en": "no"},
    "coverage_none": {
        "zh": "不知道名册中有多少学生得到评分。评分时请提供完整名册。",
        "en": "It is not known how much of the roster was scored. Give the whole roster when scoring.",
    },
    "cause": {"zh": "原因", "en": "Cause"},
    "missing": {"zh": "缺失的信息", "en": "Missing values"},
    "missing_lead": {
        "zh": "没有记录不等于零。名单上的学生若缺失更多，先补登信息，再下判断。",
        "en": "Not recorded is not zero. Where listed students lack more, complete the record first, then judge.",
    },
    "missing_none": {"zh": "用到的信息没有缺失。", "en": "No value that the model uses is missing."},
    "missing_all": {"zh": "全体学生缺失（%）", "en": "Missing, all students (%)"},
    "missing_listed": {"zh": "名单学生缺失（%）", "en": "Missing, listed students (%)"},
    "more_rows": {"zh": "另有 {n} 项未列出，见 JSON 文件。", "en": "{n} more stand in the JSON file."},

    # 11 Checks
    "checks": {"zh": "稳定性与核查", "en": "Stability and checks"},
    "stability": {"zh": "名单是否稳定", "en": "Whether the list is stable"},
    "refit_kept": {
        "zh": "用另一随机种子重新训练，名单（名额 {share}）中 {kept} 的学生不变。",
        "en": "Trained again with another seed, {kept} of the list (room for {share}) stays.",
    },
    "late_kept": {
        "zh": "如果名单人数最多的学校（{students} 名学生）最近 {days} 天的考勤迟报，全部名单中 {kept} 的学生不变。",
        "en": "When the school with most places ({students} students) reports its last {days} days of attendance "
        "late, {kept} "
        "of the whole list stays.",
    },
    "late_kept_of_school": {
        "zh": "这所学校自己列入名单的学生中，{kept} 不变。",
        "en": "Of that school's own listed students {kept} stay listed.",
    },
    "stability_none": {
        "zh": "没有做稳定性检验。使用县级原始数据表训练时会自动进行。",
        "en": "The stability was not tested. Training on the tables of a county does so.",
    },
    "sensitive": {"zh": "有无敏感信息", "en": "With and without sensitive inputs"},
    "sensitive_lead": {
        "zh": "完整模型减去不使用下列信息的模型：{features}。",
        "en": "The full model minus one without: {features}.",
    },
    "sensitive_none": {
        "zh": "没有比较去掉敏感信息后的模型：没有列出敏感信息。",
        "en": "No model without sensitive inputs was compared: none of the inputs is listed as sensitive.",
    },
    "figure": {"zh": "指标", "en": "Figure"},
    "difference": {"zh": "差值", "en": "Difference"},
    "help": {"zh": "从帮扶中学习", "en": "Learning from help"},
    "help_lead": {
        "zh": "{rows} 条记录中有 {helped} 条在评分后得到过帮扶，处理方式：{treatment}。得到帮扶的学生可能因此没有离校"
        "，所以两类分开评估。",
        "en": "{helped} of {rows} rows were helped after the as-of date; they are treated thus: {treatment}. A helped "
        "student may have stayed because of it, so both are judged apart.",
    },
    "help_effective": {
        "zh": "训练中各条记录按权重计，相当于 {n} 条等权记录。",
        "en": "By their weights the rows count in learning as {n} equal ones.",
    },
    "help_frozen": {
        "zh": "帮扶开始前的最后一个学期（{term}，固定基准，{n} 人）："
        "风险最高的十分之一，平均风险 {shown}，实际离校 {left}；"
        "找到离校学生的 {recall}（名额 10 %）。",
        "en": "On the last term before help ({term}, a fixed benchmark of {n} students), in the tenth with the highest "
        "risks the mean risk was {shown} and {left} left; a list of 10 % found {recall} of those who left.",
    },
    "help_since": {"zh": "名单自 {date} 起使用。", "en": "Lists have been in use since {date}."},
    "help_none": {
        "zh": "没有帮扶记录表。名单投入使用后，请登记每次帮扶，否则模型会误以为得到帮扶的学生风险较低。",
        "en": "There is no table of interventions. Once lists are in use record every help, else the model takes the "
        "helped for students at low risk.",
    },
    "helped": {"zh": "得到帮扶", "en": "Helped"},
    "not_helped": {"zh": "没有帮扶", "en": "Not helped"},
    "oracle": {"zh": "与真实风险比较（仅合成数据）", "en": "Beside the true risk (made-up data only)"},
    "oracle_lead": {
        "zh": "合成数据中真实风险是已知的。模型减去真实风险：明显大于零说明有泄漏。",
        "en": "In made-up data the true risk is known. The model minus the true risk: clearly above zero is a leak.",
    },
    "alarms": {"zh": "泄漏警报", "en": "Leak alarms"},
    "alarms_none": {"zh": "没有泄漏警报。", "en": "No leak alarm."},

    # 12 How the figures were made
    "method": {"zh": "数字是怎样得到的", "en": "How the figures were made"},
    "validation": {"zh": "检验方法", "en": "Validation"},
    "validation_none": {"zh": "没有记录检验方法。", "en": "How the rows were split was not recorded."},
    "data": {"zh": "数据", "en": "Data"},
    "terms": {"zh": "学期", "en": "Terms"},
    "counties": {"zh": "县（区）", "en": "Counties"},
    "schools": {"zh": "学校", "en": "Schools"},
    "as_of_date": {"zh": "数据截止日期", "en": "As-of date"},
    "data_rows": {"zh": "训练数据（人学期）", "en": "Rows to learn from (student-terms)"},
    "data_events": {"zh": "其中离校", "en": "Of them ended in leaving"},
    "preset": {"zh": "离校认定规则", "en": "Rule preset"},
    "horizon": {"zh": "预测范围（学期）", "en": "Horizon (terms)"},
    "capacity_headline": {"zh": "主要名额", "en": "Headline capacity"},
    "digest": {"zh": "数据摘要值", "en": "Digest of the data"},
    "judged": {"zh": "评估的记录", "en": "Rows judged"},
    "left_out": {"zh": "没有风险或结果，未计入", "en": "Left out, without risk or outcome"},
    "resampled": {
        "zh": "区间由 {groups} 个组（学校或其他）整组重抽样 {n_boot} 次得到，置信度 {confidence}。",
        "en": "Intervals come from {n_boot} resamples of {groups} whole groups (schools, or what was named), at "
        "{confidence}.",
    },
    "terms_used": {"zh": "名词", "en": "Words"},
    "limits": {"zh": "局限", "en": "Limits"},
    "limit_past": {
        "zh": "这些数字来自往期。政策、登记方式或学校变化后，名单的价值可能不同，每学期应重新评估。",
        "en": "The figures are those of past terms. When policy, recording or schools change the list may be worth "
        "more or less: judge it again each term.",
    },
    "limit_cause": {
        "zh": "原因是相关关系，不是因果；帮扶前请与学生、家长和班主任沟通。",
        "en": "Reasons are associations, not causes; talk with the student, the family and the class teacher before "
        "acting.",
    },
    "limit_missed": {
        "zh": "不在名单上的学生也会离校；突发情况在数据中没有迹象。",
        "en": "Students who are not listed leave too; what happens suddenly leaves no sign in the data.",
    },
    "limit_small": {
        "zh": "人数很少的群体不显示，既因为数字不可靠，也为了不指向个人。",
        "en": "Very small groups are not shown: their figures say little and could point at a child.",
    },
    "notes": {"zh": "备注", "en": "Notes"},
    "word_recall": {"zh": "召回率", "en": "Recall"},
    "word_recall_is": {
        "zh": "离校学生中列入名单的比例。",
        "en": "share of the students who left that were listed.",
    },
    "word_precision": {"zh": "精确率", "en": "Precision"},
    "word_precision_is": {
        "zh": "列入名单的学生中离校的比例。",
        "en": "share of the listed students who left.",
    },
    "word_false_alarm": {"zh": "误报比例", "en": "False-alarm share"},
    "word_false_alarm_is": {
        "zh": "列入名单的学生中没有离校的比例，等于 1 减精确率。",
        "en": "share of the listed students who stayed: 1 minus the precision.",
    },
    "word_ece": {"zh": "校准误差（ECE）", "en": "Calibration error (ECE)"},
    "word_ece_is": {
        "zh": "给出的风险与实际离校比例的平均差距。",
        "en": "mean distance between the risk given and the share who left.",
    },
    "word_auc": {"zh": "AUC", "en": "AUC"},
    "word_auc_is": {
        "zh": "随机取一名离校学生和一名在校学生，前者风险更高的概率。",
        "en": "chance that a student who left had a higher risk than one who stayed.",
    },
    "word_ap": {"zh": "平均精确率（AP）", "en": "Average precision (AP)"},
    "word_ap_is": {
        "zh": "各召回率下精确率的平均值。",
        "en": "precision averaged over all sizes of the list.",
    },

    # Names of figures and models
    "metric_auc": {"zh": "AUC", "en": "AUC"},
    "metric_average_precision": {"zh": "平均精确率", "en": "Average precision"},
    "metric_brier": {"zh": "Brier 分数", "en": "Brier score"},
    "metric_log_loss": {"zh": "对数损失", "en": "Log-loss"},
    "metric_ece": {"zh": "校准误差", "en": "Calibration error"},
    "metric_recall": {"zh": "召回率（名额 {k}）", "en": "Recall at {k}"},
    "metric_precision": {"zh": "精确率（名额 {k}）", "en": "Precision at {k}"},
    "peer_logistic_regression": {"zh": "逻辑回归", "en": "Logistic regression"},
    "peer_hist_gradient_boosting": {"zh": "直方图梯度提升", "en": "Histogram gradient boosting"},
    "peer_lightgbm_defaults": {"zh": "LightGBM（默认设置）", "en": "LightGBM, default settings"},
    "peer_random_forest": {"zh": "随机森林", "en": "Random forest"},
    "peer_xgboost_defaults": {"zh": "XGBoost（默认设置）", "en": "XGBoost, default settings"},
    "peer_catboost_defaults": {"zh": "CatBoost（默认设置）", "en": "CatBoost, default settings"},
    "peer_explainable_boosting": {"zh": "可解释提升机", "en": "Explainable boosting machine"},
    "peer_lightgbm_optuna": {"zh": "LightGBM（自动调参）", "en": "LightGBM, tuned"},
}  # fmt: skip
"""By key and language; the names in braces are filled in by `Words`."""
